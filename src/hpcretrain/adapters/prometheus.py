"""The one door to a Prometheus server: range queries over its HTTP API."""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import stat
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from hpcretrain.errors import InputError, SourceError
from hpcretrain.policy.gauge import Series

MOST_POINTS = 11_000
"""Points of a series that a server gives in one answer (its own limit)."""
MOST_BYTES = 200_000_000
_REFUSALS = (400, 401, 403, 404, 422)


@dataclass(frozen=True)
class Server:
    """A server, how long to wait for it, and the token it is asked with."""

    url: str
    timeout_s: float
    token_file: Path | None = None


@dataclass(frozen=True)
class Answer:
    """Series by the value of a label ("" where none is asked for), and what the server warns of."""

    series: Mapping[str, Series]
    warnings: tuple[str, ...]


def query_range(
    server: Server, query: str, start: datetime, end: datetime, step: timedelta, label: str | None = None
) -> Answer:
    """The samples of a query with start < time <= end, one each `step`.

    A sample is what the server takes for current at its time: a series that ended gives none from five minutes after
    its last scrape, or at once where the server noticed the end.

    Args:
        server: The server.
        query: PromQL.
        start: Where the range begins.
        end: Where it ends.
        step: Time between samples.
        label: The label that tells series apart. Without one, the query gives at most one series.

    Raises:
        InputError: The server refuses the query or the token, or the query gives several series.
        SourceError: The server does not answer, or not with what Prometheus answers.
    """
    points = (end - start) // step
    if points > MOST_POINTS:
        raise InputError(
            f"{query}: {points} points, and a server gives {MOST_POINTS}: ask for less time, or a longer step"
        )
    first = end - (points - 1) * step if points else end
    fields = {
        "query": query,
        "start": f"{first.timestamp():.3f}",
        "end": f"{end.timestamp():.3f}",
        "step": f"{step.total_seconds():g}",
        "timeout": f"{server.timeout_s:g}s",
    }
    return parse(_ask(server, urllib.parse.urlencode(fields).encode()), query, label)


def parse(text: bytes | str, query: str, label: str | None = None) -> Answer:
    """An answer from its JSON.

    Raises:
        InputError: The query gives several series, or histograms.
        SourceError: It is no answer of Prometheus, or one that tells of an error.
    """
    try:
        content = json.loads(text)
        if content["status"] != "success":
            raise SourceError(
                f"{query}: {content.get('errorType', 'error')}: {content.get('error', 'no reason given')}"
            )
        if content["data"]["resultType"] != "matrix":
            raise SourceError(f"{query}: the answer is a {content['data']['resultType']}, not a range")
        found: dict[str, Series] = {}
        for each in content["data"]["result"]:
            name = _name(each["metric"], query, label)
            if name in found:
                raise InputError(
                    f"{query}: gives several series"
                    + (f" for {label}={name}" if label else "")
                    + f", such as {_labels(each['metric'])}; aggregate them in the query, such as max(...)"
                )
            if "values" not in each:
                raise InputError(f"{query}: gives histograms; make a number of them, such as histogram_quantile(...)")
            found[name] = _series(each["values"])
        warnings = tuple(str(each) for each in (*content.get("warnings", ()), *content.get("infos", ())))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise SourceError(f"{query}: this is no answer of a Prometheus server ({error!r})") from error
    return Answer(found, warnings)


def read_token(path: Path) -> str:
    """The token that a file holds, which nobody else may read.

    Raises:
        InputError: It cannot be read, others can read it, or it holds none.
    """
    try:
        with path.open(encoding="ascii") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            token = file.read(100_000).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the token cannot be read: {getattr(error, 'strerror', 'it is no text')}") from None
    if mode & 0o077:
        raise InputError(f"{path}: others can read the token (mode {mode:o}); chmod 600 {path}")
    if not token or not token.isprintable() or " " in token:
        raise InputError(f"{path}: holds no token, which is one word")
    return token


def _name(metric: Mapping[str, str], query: str, label: str | None) -> str:
    if label is None:
        return ""
    if label not in metric:
        raise InputError(f'{query}: a series has no label "{label}": {_labels(metric)}; keep it, such as by ({label})')
    return str(metric[label])


def _labels(metric: Mapping[str, str]) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in sorted(metric.items())) + "}"


def _series(values: Any) -> Series:
    times = np.array([float(time) for time, _ in values], dtype=np.float64)
    # A server writes NaN, +Inf and -Inf, as Python reads them.
    numbers = np.array([float(value) for _, value in values], dtype=np.float64)
    if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        raise ValueError("times are not in order")
    return Series(times, numbers)


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows nobody elsewhere: a token is for one server."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _ask(server: Server, body: bytes) -> bytes:
    url = server.url.rstrip("/") + "/api/v1/query_range"
    near = _near(url)
    request = urllib.request.Request(url, body, {"Content-Type": "application/x-www-form-urlencoded"})
    if server.token_file is not None:
        if not near and not url.startswith("https:"):
            raise InputError(f"{server.url}: a token is sent over https only")
        request.add_unredirected_header("Authorization", f"Bearer {read_token(server.token_file)}")
    doors: list[Any] = [_Stay(), *([urllib.request.ProxyHandler({})] if near else [])]
    try:
        # The server gives up by itself at its time-out, and says so.
        with urllib.request.build_opener(*doors).open(request, timeout=server.timeout_s + 5) as answer:
            text: bytes = answer.read(MOST_BYTES + 1)
    except urllib.error.HTTPError as error:
        raise _refused(server, error) from None
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "reason", None) or error
        raise SourceError(f"{server.url} does not answer: {why}") from error
    if len(text) > MOST_BYTES:
        raise SourceError(f"{server.url} answers with more than {MOST_BYTES // 1_000_000} MB; aggregate in the query")
    return text


def _near(url: str) -> bool:
    """Whether a server is on this machine."""
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refused(server: Server, error: urllib.error.HTTPError) -> InputError | SourceError:
    try:
        told = json.loads(error.read(100_000))
        why = f"{told['errorType']}: {told['error']}"
    except (ValueError, LookupError, TypeError, OSError, http.client.HTTPException):
        why = str(error.reason)
    if error.code in (401, 403):
        why += "; token_file names a file with a bearer token"
    if 300 <= error.code < 400:
        why += f"; it points to {error.headers.get('Location')}, which `url` may name"
    kind = InputError if error.code in _REFUSALS or 300 <= error.code < 400 else SourceError
    return kind(f"{server.url} refuses ({error.code}): {why}")
