"""Garbage that is collected apart never keeps the thread waiting that everything else waits for."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

BUSY_S = 8
STANDS_STILL = """
    import gc, sqlite3, sys, threading, time
    from hpcretrain.adapters.prefect_serving import collect_apart

    path, apart = sys.argv[1], sys.argv[2] == "apart"
    if apart:
        collect_apart()
    ours = sqlite3.connect(path, isolation_level=None)
    ours.execute("CREATE TABLE numbers (number)")
    theirs = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_S)
    cursor = theirs.execute("SELECT name FROM sqlite_master")
    cursor.fetchall()
    unfinished = theirs.execute("VALUES (1), (2)")
    unfinished.fetchone()
    cycle = [unfinished]
    cycle.append(cycle)
    ours.execute("BEGIN IMMEDIATE")
    waiting = threading.Thread(target=lambda: theirs.execute("BEGIN IMMEDIATE"))
    waiting.start()
    time.sleep(0.5)
    del cursor, unfinished, cycle
    began = time.monotonic()
    kept = []
    while time.monotonic() - began < 3 and len(kept) < 3_000_000:
        kept.append([])
        if len(kept) % 1000 == 0:
            time.sleep(0.001)
    ours.execute("COMMIT")
    stood = time.monotonic() - began
    waiting.join()
    print("stood still" if stood > 6 else "went on")
"""


@pytest.mark.parametrize(("how", "then"), [("apart", "went on"), ("as usual", "stood still")])
def test_a_writer_goes_on_while_a_cursor_is_freed_of_a_connection_that_waits(
    tmp_path: Path, how: str, then: str
) -> None:
    program = textwrap.dedent(STANDS_STILL).replace("BUSY_S", str(BUSY_S))
    command = [sys.executable, "-c", program, str(tmp_path / "numbers.db"), how]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == then, done.stderr + str(time.monotonic() - began)
