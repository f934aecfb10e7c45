"""The process that runs are forked from outlives whatever happens to them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from steered import until

from hpcretrain.flows import begin

FORKS = """
import os, sys, time
from pathlib import Path
from hpcretrain.flows import warm
place = Path(sys.argv[1])
try:
    warm.serve(place / "warm")
except warm.Forked:
    time.sleep(60)
    os._exit(0)
"""


def test_a_run_that_ends_while_it_is_signaled_and_another_begins_takes_no_other_along(tmp_path: Path) -> None:
    place = tmp_path / "warm"
    warm = subprocess.Popen([sys.executable, "-c", FORKS, str(tmp_path)])
    children = Path(f"/proc/{warm.pid}/task/{warm.pid}/children")
    runs: list[subprocess.Popen[bytes]] = []
    try:
        until(place.exists, 20)
        for number in (1, 2):
            runs.append(subprocess.Popen([sys.executable, "-S", "-E", str(begin.__file__), str(place)]))
            until(lambda count=number: len(children.read_text().split()) == count, 20)  # type: ignore[misc]
        ends, stays = map(int, children.read_text().split())
        with socket.socket(socket.AF_UNIX) as beginning:
            # Whoever connects keeps the process busy until it has said what is to begin.
            beginning.connect(str(place))
            os.kill(ends, signal.SIGKILL)
            until(lambda: Path(f"/proc/{ends}/stat").read_text().split()[2] == "Z", 20)
            runs[0].send_signal(signal.SIGTERM)
            warm.send_signal(signal.SIGINT)
        assert runs[0].wait(20) == -signal.SIGKILL
        assert [warm.poll(), runs[1].poll()] == [None, None]
        assert Path(f"/proc/{stays}").exists()
    finally:
        for process in (*runs, warm):
            process.kill()
            process.wait()
