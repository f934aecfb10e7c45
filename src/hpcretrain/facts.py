"""The facts that a decision saw and that no record holds: with them it can be made again."""

from __future__ import annotations

from dataclasses import dataclass

from hpcretrain.backlog import Shared
from hpcretrain.canonical import Plain


@dataclass(frozen=True)
class Facts(Plain):
    """What a decision saw that no record holds.

    Attributes:
        attended: Whether there was somebody to ask.
        training_rows: Matured rows to train on.
        selection_rows: Matured rows for pilots to compete on.
        holdout_rows: Matured rows that the champion has not seen.
        fresh_rows: Matured rows since those of the gate's last verdict.
        class_rows: Labels of the rarer class, where the pilots compete or at the gate, whichever has fewer.
        passes: How often one training reads each row.
        shared: What is shared with others, where the policy has rules on that; None in a replay.
    """

    attended: bool
    training_rows: int
    selection_rows: int
    holdout_rows: int
    fresh_rows: int
    class_rows: int
    passes: int
    shared: Shared | None = None
