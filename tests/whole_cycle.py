"""One cycle as its records, in order, for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from hpcretrain.records import (
    Action,
    Activation,
    Advice,
    Approval,
    Ask,
    Asked,
    Assessment,
    Baseline,
    BreakGlass,
    Candidate,
    Closing,
    Decision,
    Facts,
    Family,
    Finding,
    GlassReview,
    Job,
    Outcome,
    PriorityClass,
    Proposal,
    Purpose,
    Record,
    Release,
    ReleaseKind,
    RetrainRequest,
    Review,
    Signal,
    Slice,
    Stage,
    Verdict,
    Watch,
    Window,
)

AT = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
FINE = Finding(check="x", outcome=Outcome.PASS, reason="fine")
SPAN = Slice(AT, AT + DAY, 10, "d")
WINDOW = Window("all", AT, AT + DAY, 10, 10, "d")


FACTS = Facts(attended=True, training_rows=1, selection_rows=1, holdout_rows=1, fresh_rows=1, class_rows=1, passes=1)


class Chain:
    """Records that follow from each other, each known by a name of its own."""

    def __init__(self, digest: Callable[[str], str] = str) -> None:
        self.made: dict[str, Record] = {}
        self._digest = digest

    def make(self, kind: type[Record], name: str, day: int, answers: tuple[str, ...], /, **fields: Any) -> Record:
        ids = tuple(self.made[answer].id for answer in answers)
        record = kind(model="m", at=AT + day * DAY, answers=ids, **fields)
        self.made[name] = record
        return record

    def job(self, name: str, day: int, answers: tuple[str, ...], purpose: Purpose) -> Record:
        return self.make(
            Job, name, day, answers,
            purpose=purpose, priority_class=PriorityClass.STANDARD, recipe="r", params={}, seed=day, window=WINDOW,
            cost_mrow_passes=1.0,
        )  # fmt: skip

    def candidate(
        self, name: str, day: int, answers: tuple[str, ...], purpose: Purpose, averaged: bool = False
    ) -> Record:
        members = tuple(self.made[answer].id for answer in answers) if averaged else ()
        return self.make(
            Candidate,
            name,
            day,
            answers,
            purpose=purpose,
            model_digest=self._digest(name),
            window=WINDOW,
            members=members,
        )

    def release(
        self, name: str, day: int, answers: tuple[str, ...], kind: ReleaseKind, served: str, twin: str
    ) -> Record:
        return self.make(
            Release, name, day, answers,
            release_kind=kind, candidate=self.made[served].id, twin=self.made[twin].id,
            model_digest=self._digest(served), window=WINDOW, previous=None, readings=(),
        )  # fmt: skip

    def verdict(
        self, name: str, stage: Stage, day: int, answers: tuple[str, ...], judged: str, twin: str | None = None
    ) -> Record:
        return self.make(
            Verdict, name, day, answers,
            stage=stage, candidate=self.made[judged].id, twin=self.made[twin].id if twin else None,
            outcome=Outcome.PASS, holdout=SPAN, use=1, findings=(FINE,), readings=(),
        )  # fmt: skip


def whole_cycle(digest: Callable[[str], str] = str) -> list[Record]:
    """One cycle from the baseline to the review of a roll-back, in order; `digest` gives those of models by name."""
    chain = Chain(digest)
    chain.make(
        Baseline, "baseline", 0, (),
        config_digest="c", policy_digest="p", rule_version="1", contract_digest="k", batch_s=86400,
        reference=SPAN,
    )  # fmt: skip
    chain.make(Activation, "activation", 0, ("baseline",), policy_digest="p", policy="{}", rule_version="1", actor=None)
    chain.job("job0", 0, ("baseline",), Purpose.JUDGE)
    chain.candidate("twin0", 0, ("job0",), Purpose.JUDGE)
    chain.job("job1", 0, ("baseline",), Purpose.REFIT)
    chain.candidate("first", 0, ("job1",), Purpose.REFIT)
    chain.release("release0", 0, ("twin0", "first"), ReleaseKind.FIRST, "first", "twin0")
    chain.make(
        Signal, "signal", 7, ("release0",),
        family=Family.PERFORMANCE, name="auc", slot=SPAN, effect=0.1, lower_bound=0.1, n=10, reference=0.7, unit="u",
        finding=FINE,
    )  # fmt: skip
    chain.make(
        Assessment,
        "assessment",
        7,
        ("signal",),
        score=400,
        decline=400,
        fresh=0,
        action=Advice.RETRAIN,
        priority_class=PriorityClass.STANDARD,
        contributions={},
        levels={},
        findings=(FINE,),
    )
    chain.make(
        RetrainRequest, "request", 7, ("assessment",),
        priority_class=PriorityClass.STANDARD, score=400, contributions={}, triggers=("performance",), reason="r",
    )  # fmt: skip
    chain.make(
        Decision, "decision", 7, ("request", "assessment"),
        policy_digest="p", rule_version="1", action=Action.RUN, outcome=Outcome.PASS,
        priority_class=PriorityClass.STANDARD, cost_mrow_passes=1.0, facts=FACTS,
        findings=(FINE,),
    )  # fmt: skip
    _judged(chain)
    _approved(chain, digest)
    _other_policy(chain)
    chain.make(Watch, "watch", 14, ("release1",), look=1, outcome=Outcome.FAIL, slot=SPAN, findings=(FINE,))
    chain.release("release2", 14, ("watch",), ReleaseKind.ROLLBACK, "first", "twin0")
    chain.make(
        Review, "review", 14, ("request", "watch"),
        closing=Closing.ROLLED_BACK, cost_mrow_passes=2.0, gain=FINE,
    )  # fmt: skip
    return list(chain.made.values())


def _other_policy(chain: Chain) -> None:
    chain.make(Proposal, "proposal", 8, ("activation",), policy_digest="q", policy="{}", actor="ann", reason="calmer")
    chain.make(
        Ask, "asked2", 8, ("proposal",),
        asked=Asked.POLICY, subject=chain.made["proposal"].id, model_digest=None, policy_digest="p",
        priority_class=PriorityClass.STANDARD, requester="ann", overrules=(), facts=(FINE,), expires_at=AT + 12 * DAY,
    )  # fmt: skip
    chain.make(Approval, "approval2", 8, ("asked2",), outcome=Outcome.PASS, actor="bob", reason="", token="u")
    chain.make(
        Activation, "activation2", 8, ("proposal", "approval2"),
        policy_digest="q", policy="{}", rule_version="1", actor="ann",
    )  # fmt: skip


def _judged(chain: Chain) -> None:
    chain.job("job2", 7, ("decision",), Purpose.PILOT)
    chain.candidate("pilot", 7, ("job2",), Purpose.PILOT)
    chain.candidate("twin", 7, ("pilot", "first"), Purpose.PILOT, averaged=True)
    chain.verdict("selection", Stage.SELECTION, 7, ("pilot", "twin", "release0"), "twin")
    chain.verdict("verdict", Stage.GATE, 7, ("twin", "release0", "selection"), "twin")
    chain.job("job3", 7, ("verdict",), Purpose.REFIT)
    chain.candidate("fit", 7, ("job3",), Purpose.REFIT)
    chain.candidate("refit", 7, ("fit", "first"), Purpose.REFIT, averaged=True)
    chain.verdict("verdict2", Stage.REFIT, 7, ("refit", "release0"), "refit", "twin")


def _approved(chain: Chain, digest: Callable[[str], str]) -> None:
    chain.make(
        Ask, "ask", 7, ("verdict",),
        asked=Asked.RELEASE, subject=chain.made["refit"].id, model_digest=digest("refit"), policy_digest="p",
        priority_class=PriorityClass.STANDARD, requester=None, overrules=(), facts=(FINE,), expires_at=AT + 9 * DAY,
    )  # fmt: skip
    chain.make(Approval, "approval", 7, ("ask",), outcome=Outcome.PASS, actor="ann", reason="", token="t")
    said = {"actor": "bob", "reason": "r", "right": "as oncall", "identity": "operating system", "token": "t"}
    until = {"expires_at": AT + 8 * DAY, "review_by": AT + 9 * DAY}
    chain.make(BreakGlass, "glass", 7, ("request",), **said, **until)
    chain.make(GlassReview, "glass_review", 7, ("glass",), **{**said, "actor": "cat"})
    chain.release("release1", 7, ("verdict", "verdict2", "approval"), ReleaseKind.PROMOTION, "refit", "twin")


def position(kind: type[Record], occurrence: int = 0) -> int:
    return [index for index, record in enumerate(whole_cycle()) if isinstance(record, kind)][occurrence]
