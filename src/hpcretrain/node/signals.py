"""Signals by which Slurm announces that a job must go, noted and acted upon when the work comes to a good place."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)
"""What a site's `--signal` may send before preemption or the time limit, and what Slurm sends by itself."""


class Interruption:
    """Whether a signal came; `signal` is the first one, None before."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._owner = os.getpid()

    def note(self, number: int, _: FrameType | None = None) -> None:
        """Note a signal: a flag and no more, since a handler runs between any two instructions."""
        if os.getpid() == self._owner:
            self.signal = self.signal or number
        elif number == signal.SIGTERM:
            # A process that a recipe forked inherits this handler, and must end when it is told to.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


@contextmanager
def noticed() -> Iterator[Interruption]:
    """Note the signals that come while inside; in the main thread only."""
    interruption = Interruption()
    before = {number: signal.signal(number, interruption.note) for number in SIGNALS}
    # The batch script has them held back until here.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
