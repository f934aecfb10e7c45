"""The virtual clock of a backtest."""

from __future__ import annotations

from datetime import datetime


class VirtualClock:
    """A clock that stands where it is set."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        """The time that was set."""
        return self.moment
