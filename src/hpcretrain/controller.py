"""The controller: holds a home for good, does what is due when it is due, and answers whoever calls."""

from __future__ import annotations

import contextlib
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hpcretrain.adapters.controlsocket import Listener
from hpcretrain.adapters.home import default_home
from hpcretrain.adapters.livesettings import LiveSettings
from hpcretrain.errors import HpcretrainError, LedgerDamagedError
from hpcretrain.live import Live
from hpcretrain.livehome import at_work
from hpcretrain.retaining import tidy
from hpcretrain.service import empty, serve, understand
from hpcretrain.telling import tell_damage, telling

Tell = Callable[[str], None]

_LISTEN_S = 0.2
"""How long it listens before it looks about: at jobs that ring, at the inbox, and at the clock."""
_LONGEST_PAUSE_S = 60.0
_TIDY_EVERY_S = 3_600.0
_STOP = (signal.SIGTERM, signal.SIGINT)


def run(home: Path | None = None, tell: Tell = lambda _: None) -> None:
    """Be the controller of a home until SIGTERM or SIGINT.

    Where something fails it says so and goes on from the ledger, after a pause that grows up to a minute.

    Args:
        home: The folder. Default: `HPCRETRAIN_HOME`, or `.hpcretrain/`.
        tell: Called with what is done.

    Raises:
        HpcretrainError: The home cannot be worked in: there is none, another process is at it, its ledger is damaged.
    """
    place = home or default_home()
    LiveSettings.read(place)
    failures, held = 0, False

    def well() -> None:
        nonlocal failures
        failures = 0

    with _stopping() as stopped:
        while not stopped:
            try:
                with at_work(place, tell) as live, contextlib.closing(Listener(place)) as listener:
                    if not held:
                        tell(f"the controller of {place} is at work")
                    held = True
                    _Controller(live, place, listener, tell).work(stopped, well)
            except LedgerDamagedError as error:
                tell_damage(place, error, tell)
                raise
            except (HpcretrainError, OSError) as error:
                if not held:
                    raise
                failures += 1
                pause = min(2.0**failures, _LONGEST_PAUSE_S)
                tell(f"{error}; trying again in {pause:g} s")
                _wait(pause, stopped)


class _Controller:
    """A controller, as long as what it holds in memory can be relied on."""

    def __init__(self, live: Live, home: Path, listener: Listener, tell: Tell) -> None:
        self._live = live
        self._home = home
        self._listener = listener
        self._tell = tell
        self._inbox = LiveSettings.read(home).inbox
        self._seen = self._files()
        self._failure: Exception | None = None
        self._troubles: list[str] = []
        self._tidy_at = time.monotonic()

    def work(self, stopped: list[int], well: Callable[[], None]) -> None:
        """Go on until this process is told to stop, or the table or the terms are others than were read.

        Args:
            stopped: Not empty once it is told to stop.
            well: Called after each round in which nothing failed.
        """
        with telling(self._live, self._home, self._tell) as teller:
            self._live.advance()
            while not stopped:
                if self._live.stale() or (self._live.due() and self._files() != self._seen):
                    return
                if self._live.due() or self._live.stirs():
                    self._live.advance()
                # Whoever may enter the home does not wait for strangers.
                self._listener.serve(_LISTEN_S, self._do)
                if self._failure is not None:
                    raise self._failure
                self._empty()
                if time.monotonic() >= self._tidy_at:
                    self._tidy_at = time.monotonic() + _TIDY_EVERY_S
                    tidy(self._live, self._home, self._tell)
                teller.look()
                well()

    def _do(self, call: Mapping[str, Any], uid: int, _: Tell) -> dict[str, Any]:
        # What cannot be understood touches nothing, so nothing has to be done again.
        wanted = understand(call, uid, self._home, self._live.desk.terms)
        try:
            return serve(self._live, wanted, self._home)
        except (HpcretrainError, OSError) as error:
            # Who called is told; what was done by halves is done again from the ledger.
            self._failure = error
            raise
        except Exception as error:
            # A defect: whatever it left in memory is given up, too, and who called is not left without an answer.
            self._tell(traceback.format_exc())
            self._failure = HpcretrainError(f"the controller met {error!r}, which is a defect of hpcretrain")
            raise self._failure from error

    def _empty(self) -> None:
        """See to the inbox; tell of a trouble with it once, however often it is met in a row."""
        met: list[str] = []
        empty(self._live, self._home, self._inbox, met.append)
        for line in met:
            if line not in self._troubles:
                self._tell(line)
        self._troubles = met

    def _files(self) -> list[tuple[str, int, int]]:
        """What tells whether the table or the terms have changed."""
        terms = self._live.desk.terms
        found = []
        for path in (*terms.paths, *terms.files):
            with contextlib.suppress(FileNotFoundError):
                told = path.stat()
                found.append((str(path), told.st_size, told.st_mtime_ns))
        return found


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """The signals that told this process to stop, once one did; what is being done then is still done."""
    told: list[int] = []
    usual = {each: signal.signal(each, lambda number, _: told.append(number)) for each in _STOP}
    try:
        yield told
    finally:
        for each, handler in usual.items():
            signal.signal(each, handler)


def _wait(seconds: float, stopped: list[int]) -> None:
    until = time.monotonic() + seconds
    while not stopped and time.monotonic() < until:
        time.sleep(min(_LISTEN_S, seconds))
