"""One home's decision on a board under a limit of two, as a process of its own: prints whether it began."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from admissions import NOW, rules, runs, waits

from hpcretrain.adapters.board import FolderBoard
from hpcretrain.backlog import Entry, Means, Shared
from hpcretrain.policy.admit import about

MEANS = Means(None, (), 2.0, None, 3.0)


def decide(folder: Path, name: str) -> bool:
    """Decide, and tell the board of it; whether it began."""
    board = FolderBoard(folder, name, folder / name)
    with board.meet() as told:
        found = about(waits(name), Shared(MEANS, told.entries, troubles=told.troubles), (), rules(most_running=2), NOW)
        # Long enough for another to decide on what is not told yet.
        time.sleep(0.02)
        board.tell(Entry(board.home, name, NOW, running=(runs(name),) if found.runs else ()))
    return found.runs


def hold(folder: Path) -> None:
    """Hold the lock until the process is killed."""
    with FolderBoard(folder, "held", folder / "held").meet():
        print("holds", flush=True)
        time.sleep(60)


if __name__ == "__main__":
    print(decide(Path(sys.argv[1]), sys.argv[2]))
