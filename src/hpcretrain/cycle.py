"""One request to retrain, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hpcretrain.records import (
    Approval,
    Ask,
    Asked,
    BreakGlass,
    Candidate,
    Closing,
    Decision,
    Job,
    Outcome,
    Release,
    RetrainRequest,
    Review,
    Stage,
    Verdict,
    Watch,
)


def answer(ask: Ask, said: Sequence[Approval]) -> Approval | None:
    """What is said to an ask comes to: a denial, or the last of the approvals that it needs; None so far."""
    denial = next((each for each in said if each.outcome is not Outcome.PASS), None)
    return denial or (said[-1] if len(said) >= ask.needed else None)


@dataclass
class Cycle:
    """One request and what came of it."""

    request: RetrainRequest
    in_person: str | None = None
    """Who asked for it; None where the model's decline did."""
    decisions: list[Decision] = field(default_factory=list)
    run: Decision | None = None
    """The decision that ordered the training."""
    asks: list[Ask] = field(default_factory=list)
    approvals: dict[str, list[Approval]] = field(default_factory=dict)
    """What was said so far, by the identifier of the ask."""
    broken: list[BreakGlass] = field(default_factory=list)
    """For what somebody broke the glass."""
    jobs: list[Job] = field(default_factory=list)
    candidates: dict[str, Candidate] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    release: Release | None = None
    watches: list[Watch] = field(default_factory=list)
    rollback: Release | None = None
    review: Review | None = None

    @property
    def looks(self) -> int:
        """How many looks at its release told something."""
        return sum(look.outcome is not Outcome.INSUFFICIENT for look in self.watches)

    @property
    def under_way(self) -> bool:
        """Whether its training was ordered, and nothing came of it yet."""
        return self.run is not None and self.release is None and self.review is None

    @property
    def broken_off(self) -> bool:
        """Whether it was ended before anything could come of it."""
        return self.review is not None and self.review.closing in (Closing.CANCELED, Closing.SUPERSEDED)

    def asked(self, what: Asked) -> tuple[Ask, Approval | None] | None:
        """What was asked last of this kind, and the answer if there is one."""
        ask = next((each for each in reversed(self.asks) if each.asked is what), None)
        return (ask, self.answer(ask)) if ask else None

    def answer(self, ask: Ask) -> Approval | None:
        """The answer to an ask: a denial, or the last of the approvals that it needs; None while there is none."""
        return answer(ask, self.approvals.get(ask.id, ()))

    @property
    def judged(self) -> Verdict | None:
        """The verdict of the gate, or of the selection where nothing came to the gate."""
        return next((verdict for verdict in reversed(self.verdicts) if verdict.stage is not Stage.REFIT), None)

    @property
    def chosen(self) -> Candidate | None:
        """What serves by this cycle, or was judged last."""
        candidate = self.release.candidate if self.release else self.judged.candidate if self.judged else ""
        return self.candidates.get(candidate)
