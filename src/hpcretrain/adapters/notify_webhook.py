"""Tells people, or their programs, by a POST of JSON.

A signed body has the headers `X-Hpcretrain-Time` (seconds since 1970) and `X-Hpcretrain-Signature`, which is `sha256=`
and the HMAC-SHA256 of the time, a full stop and the body. `X-Hpcretrain-Id` is the same for the same news.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from hpcretrain.adapters.secretfile import secret
from hpcretrain.config.routes import WebhookRoute
from hpcretrain.report.notices import Notice

TIMEOUT_S = 15.0


def send(route: WebhookRoute, notice: Notice, folder: Path) -> None:
    """Send a notice.

    Args:
        route: Where to.
        notice: What.
        folder: Where the route's files lie.

    Raises:
        SecretError, OSError: It was not taken.
    """
    body = json.dumps(notice.content, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "hpcretrain", "X-Hpcretrain-Id": notice.id}
    if route.secret:
        stamp = str(int(time.time()))
        headers |= {
            "X-Hpcretrain-Time": stamp,
            "X-Hpcretrain-Signature": sign(secret(folder / route.secret), stamp, body),
        }
    if route.authorization:
        headers["Authorization"] = secret(folder / route.authorization)
    request = urllib.request.Request(route.url, data=body, headers=headers, method="POST")
    try:
        with _OPENER.open(request, timeout=TIMEOUT_S) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        error.close()
        raise OSError(f"the server says {error.code} {error.reason}") from None


def sign(key: str, stamp: str, body: bytes) -> str:
    """The signature of a body that was sent at a time."""
    return "sha256=" + hmac.new(key.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()


class _Stay(urllib.request.HTTPRedirectHandler):
    """What is signed for one server is not carried to another."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_Stay)
