"""What the data gate is going to say to a column's batches, told before the history is replayed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from hpcretrain.policy.types import DataGate

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Calendar:
    """When rows are, and how they are cut into batches.

    Attributes:
        stamps: Times of the rows in nanoseconds since 1970 in UTC, shape (rows,).
        until: End of the reference, likewise.
        length: Length of a batch, in nanoseconds.
    """

    stamps: IntArray
    until: int
    length: int

    @property
    def reference(self) -> BoolArray:
        """Which rows are the reference's, shape (rows,)."""
        return self.stamps < self.until


@dataclass(frozen=True)
class Stops:
    """Batches after the reference that the data gate would stop for what one column holds.

    Attributes:
        what: What cells of these batches do.
        rule: The policy's slack that is exceeded; none for what is never accepted beyond what the reference shows.
        stopped, batches: How many batches are stopped, of how many.
        share: Share of the later rows that are in them.
        first, last: When the first and the last of them begin, in UTC.
    """

    what: str
    rule: str
    stopped: int
    batches: int
    share: float
    first: datetime
    last: datetime


def foresee(odd: Mapping[str, BoolArray], novel: BoolArray, calendar: Calendar, gate: DataGate) -> Stops | None:
    """The check of the data gate that would stop most rows, by the gate's own rule; None if none stops any.

    A batch passes if its share of odd cells exceeds the highest of the batches accepted so far by no more than a slack.

    Args:
        odd: Which cells are "missing", of another "type", "infinite", outside the "range", or of unknown "category";
            each of shape (rows,).
        novel: Which cells of the reference hold a category that its first half does not, shape (rows,).
        calendar: The rows' times.
        gate: The policy's data gate.
    """
    found = [
        stops
        for kind, what, key in (
            ("category", "hold what does not occur in the reference", "new_category_slack"),
            ("missing", "are missing, more than in the reference", "missing_slack"),
            ("range", "are far outside the range of the reference", "out_of_range_slack"),
            ("type", "hold text, where the reference holds numbers", ""),
            ("infinite", "are infinite", ""),
        )
        if (stops := _stops(odd[kind] | novel if kind == "category" else odd[kind], what, key, calendar, gate))
    ]
    return max(found, key=lambda stops: stops.share, default=None)


def _stops(odd: BoolArray, what: str, key: str, calendar: Calendar, gate: DataGate) -> Stops | None:
    slack = getattr(gate, key) if key else 0.0
    numbers = (calendar.stamps - calendar.until) // calendar.length
    # The last batch is replayed only if it is over.
    whole = (numbers < (int(calendar.stamps.max()) - calendar.until) // calendar.length) & (numbers >= 0)
    accepted = float(_shares(numbers, odd, calendar.reference)[1].max(initial=0.0))
    begins, shares, rows = _shares(numbers, odd, whole)
    stopped = np.zeros(len(shares), dtype=np.bool_)
    for place, share in enumerate(shares):
        stopped[place] = share > accepted + slack
        accepted = accepted if stopped[place] else max(accepted, float(share))
    if not stopped.any():
        return None
    first, last = (
        _EPOCH + timedelta(microseconds=(calendar.until + int(number) * calendar.length) // 1_000)
        for number in begins[stopped][[0, -1]]
    )
    return Stops(
        what=what,
        rule=f"{key} {100 * slack:g} %" if key else "",
        stopped=int(stopped.sum()),
        batches=len(shares),
        share=float(rows[stopped].sum() / rows.sum()),
        first=first,
        last=last,
    )


def _shares(numbers: IntArray, odd: BoolArray, chosen: BoolArray) -> tuple[IntArray, FloatArray, IntArray]:
    """Of the batches that have rows, in order: their numbers, their shares of odd cells, and their rows."""
    batches, places = np.unique(numbers[chosen], return_inverse=True)
    rows = np.bincount(places, minlength=len(batches))
    return batches, np.bincount(places, weights=odd[chosen], minlength=len(batches)) / np.maximum(rows, 1), rows
