"""`prefect server start`, with garbage collected by a thread of its own; a program.

Over SQLite, Prefect's server stands still for a minute now and then: the collector happens to run in the thread of the
event loop and frees a cursor, for which it waits for the mutex of that cursor's connection; the connection's own thread
holds it while it waits to write; and the transaction that it waits for can only be ended by the event loop. All wait
until SQLite's `busy_timeout` (60 s in Prefect) is over. A thread that does nothing else may wait.
"""

from __future__ import annotations

import gc
import runpy
import sys
import threading
import time

_EVERY_S = 1.0
_ALL_EVERY = 30


def collect_apart() -> None:
    """From now on, collect this process's garbage in a thread: what is young each second, all each 30 s."""

    def collect() -> None:
        turn = 0
        while True:
            time.sleep(_EVERY_S)
            turn += 1
            gc.collect(1 if turn % _ALL_EVERY else 2)

    gc.disable()
    threading.Thread(target=collect, name="garbage", daemon=True).start()


if __name__ == "__main__":
    collect_apart()
    sys.argv = ["prefect", "server", "start"]
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
