from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcretrain.adapters.loopback import LOOPBACK, any_port
from hpcretrain.adapters.prometheus import Answer, Server, parse, query_range, read_token
from hpcretrain.cli import main
from hpcretrain.errors import InputError, SourceError

RECORDED = Path(__file__).with_name("signals_recorded")
START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def recorded(name: str, query: str = "q", label: str | None = None) -> Answer:
    return parse((RECORDED / f"prometheus-2.42-{name}.json").read_bytes(), query, label)


def test_a_range_is_times_and_values() -> None:
    series = recorded("stopped").series[""]
    assert len(series.times) == 16
    assert (series.times[0], series.values[0]) == (1767237000.0, 100.209)


def test_what_is_not_finite_stays_what_it_is() -> None:
    values = recorded("odd").series[""].values
    np.testing.assert_array_equal(values, [1.5, np.nan, np.inf, -np.inf, 1.5, np.nan])


def test_a_label_tells_models_apart() -> None:
    assert set(recorded("two-models", label="model").series) == {"flights", "rides"}


def test_no_series_is_an_answer() -> None:
    assert recorded("nothing").series == {}


def test_several_series_for_one_model_are_refused_with_their_labels() -> None:
    with pytest.raises(InputError, match=r'several series, such as \{__name__=.*model="rides"\}; aggregate'):
        recorded("two-models")


def test_a_series_without_the_label_is_refused() -> None:
    with pytest.raises(InputError, match='no label "team"'):
        recorded("two-models", label="team")


@pytest.mark.parametrize(("name", "why"), [("unclosed", "bad_data: 1:5: parse error"), ("too-many-points", "11,000")])
def test_an_error_of_the_server_is_told(name: str, why: str) -> None:
    with pytest.raises(SourceError, match=why):
        recorded(name)


@given(st.binary(max_size=200) | st.recursive(st.none(), lambda x: st.lists(x)).map(repr))
def test_any_bytes_are_an_answer_or_refused(text: bytes | str) -> None:
    with pytest.raises((SourceError, InputError)):
        parse(text, "q")


def test_warnings_of_a_partial_answer_are_kept() -> None:
    text = '{"status":"success","warnings":["store b: timeout"],"data":{"resultType":"matrix","result":[]}}'
    assert parse(text, "q").warnings == ("store b: timeout",)


class _Pretender(BaseHTTPRequestHandler):
    """A server that answers as it is told; what it was asked is kept."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        told: Any = self.server
        told.asked.append((self.path, self.headers.get("Authorization")))
        status, headers, body, length = told.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def pretender(
    status: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = None
) -> Iterator[Any]:
    server: Any = HTTPServer((LOOPBACK, 0), _Pretender)
    server.asked, server.answer = [], (status, headers or {}, body, len(body) if length is None else length)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(port: int, query: str = "up", token: Path | None = None, end: datetime = START + 5 * MINUTE) -> Answer:
    return query_range(Server(f"http://{LOOPBACK}:{port}/", 5, token), query, START, end, MINUTE)


def token(folder: Path, mode: int = 0o600) -> Path:
    path = folder / "token"
    path.write_text("s3cret\n")
    path.chmod(mode)
    return path


EMPTY = b'{"status":"success","data":{"resultType":"matrix","result":[]}}'


def test_a_token_is_sent_and_never_told(tmp_path: Path) -> None:
    with pretender(401, b"who are you?") as server, pytest.raises(InputError, match="token_file") as refused:
        ask(server.server_port, token=token(tmp_path))
    assert server.asked == [("/api/v1/query_range", "Bearer s3cret")]
    assert "s3cret" not in str(refused.value)


def test_a_token_follows_no_redirection(tmp_path: Path) -> None:
    with pretender(200, EMPTY) as other:
        to = {"Location": f"http://{LOOPBACK}:{other.server_port}/"}
        with pretender(302, b"", to) as server, pytest.raises(InputError, match="it points to"):
            ask(server.server_port, token=token(tmp_path))
        assert other.asked == []


def test_a_token_is_not_sent_in_the_clear_to_elsewhere(tmp_path: Path) -> None:
    server = Server("http://prometheus.invalid", 5, token(tmp_path))
    with pytest.raises(InputError, match="https only"):
        query_range(server, "up", START, START + MINUTE, MINUTE)


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mode 644"):
        read_token(token(tmp_path, 0o644))


@pytest.mark.parametrize("text", ["", "two words", "line\nline", "\x00"])
def test_what_is_no_token_is_refused(tmp_path: Path, text: str) -> None:
    path = token(tmp_path)
    path.write_text(text)
    with pytest.raises(InputError, match="holds no token"):
        read_token(path)


def test_a_missing_token_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_token(tmp_path / "none")


@pytest.mark.parametrize(
    ("status", "body", "length", "kind"),
    [
        (200, EMPTY[:20], 500, SourceError),
        (200, b"<html>log in</html>", None, SourceError),
        (503, b'{"status":"error","errorType":"timeout","error":"query timed out"}', None, SourceError),
        (422, b'{"status":"error","errorType":"execution","error":"many-to-many matching"}', None, InputError),
    ],
)
def test_half_answers_and_errors_are_told_apart(
    status: int, body: bytes, length: int | None, kind: type[Exception]
) -> None:
    with pretender(status, body, length=length) as server, pytest.raises(kind):
        ask(server.server_port)


def test_a_server_that_is_not_there_does_not_answer() -> None:
    with pytest.raises(SourceError, match="does not answer"):
        ask(any_port())


def test_more_points_than_a_server_gives_are_not_asked_for() -> None:
    with pytest.raises(InputError, match="a server gives 11000"):
        ask(1, end=START + timedelta(days=30))


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A real server that holds two hours of a sample a minute, of which one series ends after an hour."""
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        pytest.skip("no Prometheus on PATH (package prometheus on Debian)")
    folder = tmp_path_factory.mktemp("prometheus")
    rows = [
        f'p95{{model="{m}"}} {100 + k % 7} {START.timestamp() + 60 * k:.0f}'
        for m, n in (("a", 120), ("b", 60))
        for k in range(n)
    ]
    (folder / "samples").write_text("\n".join(["# TYPE p95 gauge", *rows, "# EOF", ""]))
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "samples", "data"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (folder / "empty.yml").write_text("global: {}\n")
    port = any_port()
    options = ["--config.file=empty.yml", "--storage.tsdb.path=data", "--storage.tsdb.retention.time=100y"]
    with (folder / "log").open("w") as told:
        server = subprocess.Popen(
            ["prometheus", *options, f"--web.listen-address={LOOPBACK}:{port}"], cwd=folder, stderr=told, stdout=told
        )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        for _ in range(300):
            try:
                direct.open(f"http://{LOOPBACK}:{port}/-/ready", timeout=5)
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise AssertionError((folder / "log").read_text())
        yield port
    finally:
        server.terminate()
        server.wait()


def test_a_real_server_gives_the_samples_of_a_range_without_its_beginning(prometheus: int) -> None:
    series = ask(prometheus, 'p95{model="a"}').series[""]
    assert (series.times - START.timestamp()).tolist() == [60, 120, 180, 240, 300]
    assert series.values.tolist() == [101, 102, 103, 104, 105]


def test_a_real_server_lets_a_series_that_ended_go_after_five_minutes(prometheus: int) -> None:
    series = ask(prometheus, 'p95{model="b"}', end=START + timedelta(hours=2)).series[""]
    last = START + timedelta(seconds=float(series.times[-1]) - START.timestamp())
    assert last - (START + 59 * MINUTE) <= timedelta(minutes=5)


@pytest.mark.parametrize("query", ["sum(", "p95 / on() p95"])
def test_a_real_server_says_what_is_wrong_with_a_query(prometheus: int, query: str) -> None:
    with pytest.raises(InputError, match=r"refuses \(4\d\d\)"):
        ask(prometheus, query)


MAP = """
url = "http://{host}:{port}"
models = ["a", "b"]
model_label = "model"

[[metric]]
name = "latency_p95"
family = "serving"
query = "max by (model) (p95)"
worse = "higher"
effect = "absolute"
reference = {{ from = "2026-01-01T00:00Z", until = "2026-01-01T00:42Z" }}
"""


def test_a_real_server_becomes_signals_and_a_series_that_ended_is_blind(
    prometheus: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "map.toml").write_text(MAP.format(host=LOOPBACK, port=prometheus))
    told = [
        "observe",
        "--from",
        "prometheus",
        "--map",
        str(tmp_path / "map.toml"),
        "--now",
        "2026-01-01T02:00Z",
        "--json",
    ]
    assert main(told) == 0
    measured, silent, last = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (measured["model"], measured["family"], measured["n"]) == ("a", "serving", 60)
    assert measured["effect"] < 1
    assert measured["lower_bound"] == 0.0
    assert (silent["model"], silent["family"], silent["effect"]) == ("b", "blind", 1.0)
    # The server holds on to the last value for five minutes.
    assert (last["model"], last["family"], last["effect"], last["n"]) == ("b", "serving", None, 4)
