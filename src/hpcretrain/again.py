"""Make past decisions again: by the rules and the policy of their time, or under another policy. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from hpcretrain import weigh
from hpcretrain.cycle import Cycle
from hpcretrain.history import History
from hpcretrain.messages import Verb
from hpcretrain.policy import decide as choices
from hpcretrain.policy.request import wish
from hpcretrain.policy.types import Policy
from hpcretrain.records import (
    Action,
    Assessment,
    Closing,
    Decision,
    Facts,
    Family,
    Finding,
    Outcome,
    PriorityClass,
    Record,
    Release,
    ReleaseKind,
    RetrainRequest,
    Review,
    Signal,
    Verdict,
    Watch,
)

Read = Callable[[str], Policy]
"""Reads a policy from its canonical text."""


@dataclass(frozen=True)
class Again:
    """What came of making a record again.

    Attributes:
        record: The record.
        same: Whether the same bytes came out; None where it could not be made again.
        why: What differs, or why it could not.
    """

    record: Record
    same: bool | None
    why: str = ""


def replay(records: Iterable[Record], read: Read, code: Mapping[str, weigh.Code] = weigh.CODE) -> Iterator[Again]:
    """Make every assessment, request and decision again, in order, from the records before it.

    Of verdicts and of looks at releases, whose rows are in no ledger, what was concluded from their measurements is
    concluded again. What a person asked for or said is not made by rules, and is not among them.

    Args:
        records: Those of a ledger, in order.
        read: Reads policies.
        code: The functions of each version of the rules.
    """
    history = History()
    policies: dict[str, Policy] = {}
    for record in records:
        if isinstance(record, Assessment | RetrainRequest | Decision | Verdict | Watch):
            again = _again(history, record, read, policies, code)
            if again is not None:
                yield again
        history.add(record)


def _again(
    history: History, record: Record, read: Read, policies: dict[str, Policy], code: Mapping[str, weigh.Code]
) -> Again | None:
    activation = history.activation
    if activation is None:
        return Again(record, None, "no policy is recorded before it: it was decided by a version before 4")
    version = record.rule_version if isinstance(record, Decision) else activation.rule_version
    if version not in code:
        return Again(record, None, f"this version of hpcretrain has not got the rules {version}")
    if activation.policy_digest not in policies:
        policies[activation.policy_digest] = read(activation.policy)
    policy = policies[activation.policy_digest]
    if isinstance(record, Verdict | Watch):
        came = code[version].conclude(record, policy)
        why = "" if came is record.outcome else f"outcome {record.outcome.value} -> {came.value}"
        return Again(record, not why, why)
    made: Record | None
    if isinstance(record, Assessment):
        made = code[version].assess(history, policy, record.at)
    elif isinstance(record, RetrainRequest):
        if len(record.answers) > 1:
            return None
        made = code[version].request(history, _assessment(history, record), policy)
    else:
        assert isinstance(record, Decision)
        cycle, assessment = _cycle(history, record), _assessment(history, record)
        made = code[version].decide(history, cycle, assessment, record.facts, policy, record.at).decision
    if made is None:
        return Again(record, False, "nothing would be asked for now")
    return Again(record, made.id == record.id, "" if made.id == record.id else _difference(record, made))


def _cycle(history: History, decision: Decision) -> Cycle:
    return next(each for each in reversed(history.cycles) if each.request.id in decision.answers)


def _assessment(history: History, record: Record) -> Assessment:
    return next(other for each in record.answers if isinstance(other := history.known[each], Assessment))


def _difference(record: Record, made: Record) -> str:
    parts = []
    for name, before in vars(record).items():
        after = getattr(made, name, None)
        if name in ("id", "body") or before == after:
            continue
        if name == "findings":
            parts += [f"{each.check} {each.before} -> {each.after}" for each in differing(before, getattr(made, name))]
        else:
            parts.append(f"{name} {before} -> {after}")
    return "; ".join(parts) or "the content is the same, its order or form is not"


@dataclass(frozen=True)
class Difference:
    """A check that comes out otherwise."""

    check: str
    before: str
    after: str


def differing(before: Sequence[Finding], after: Sequence[Finding]) -> list[Difference]:
    """The checks whose outcome or numbers differ."""
    old, new = {each.check: each for each in before}, {each.check: each for each in after}
    return [
        Difference(check, _said(old.get(check)), _said(new.get(check)))
        for check in dict.fromkeys([*old, *new])
        if _said(old.get(check)) != _said(new.get(check))
    ]


def _said(finding: Finding | None) -> str:
    if finding is None:
        return "not asked"
    return f"{finding.outcome.value} (seen {finding.observed}, limit {finding.limit})"


@dataclass(frozen=True)
class Changed:
    """An assessment or a decision that would have come out otherwise.

    Attributes:
        record: As it was recorded.
        before: What it says, in short.
        after: What it would have said.
        why: The checks that come out otherwise.
    """

    record: Record
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    why: tuple[Difference, ...]

    @property
    def score_alone(self) -> bool:
        """Whether only the score differs, and nothing that is done."""
        return {**self.before, "score": 0} == {**self.after, "score": 0}


def what_if(records: Iterable[Record], policy: Policy) -> list[Changed]:
    """The assessments and decisions that would have come out otherwise under another policy.

    Each is weighed on what was recorded before it: a retraining that would not have taken place, or an additional one,
    does not change what follows.
    """
    history, found = History(), []
    weighed: dict[str, Assessment] = {}
    for record in records:
        if isinstance(record, Assessment):
            weighed[record.id] = weigh.assess(history, policy, record.at)
            found += _compared(record, weighed[record.id], _told(record), _told(weighed[record.id]))
        elif isinstance(record, Decision):
            cycle, assessment = _cycle(history, record), weighed[_assessment(history, record).id]
            made = weigh.decide(history, cycle, assessment, record.facts, policy, record.at).decision
            found += _compared(record, made, _decided(record), _decided(made))
        history.add(record)
    return found


def _compared(
    record: Assessment | Decision, made: Assessment | Decision, before: Mapping[str, Any], after: Mapping[str, Any]
) -> list[Changed]:
    if before == after:
        return []
    return [Changed(record, before, after, tuple(differing(record.findings, made.findings)))]


def _told(assessment: Assessment) -> dict[str, Any]:
    return {
        "score": assessment.score,
        "class": assessment.priority_class.value,
        "action": assessment.action.value,
    }


def _decided(decision: Decision) -> dict[str, Any]:
    return {
        "class": decision.priority_class.value,
        "action": decision.action.value,
        "not_passed": [each.check for each in decision.findings if each.outcome is not Outcome.PASS],
    }


@dataclass
class Course:
    """How often was retrained, or would have been under a policy.

    Attributes:
        asked: Times at which a retraining was asked for.
        outside: How many of them a person, or what was told from outside, asked for.
        ran: Times at which it ran, with its class and modeled cost in millions of row-passes.
        priced: Whether there were facts to decide and to price by; without any, whatever is asked for runs.
    """

    asked: list[datetime] = field(default_factory=list)
    outside: int = 0
    ran: list[tuple[datetime, PriorityClass, float]] = field(default_factory=list)
    priced: bool = True

    @property
    def cost_mrow_passes(self) -> float | None:
        """What it would have cost; None where that is not known."""
        return sum(cost for *_, cost in self.ran) if self.priced else None


def course(records: Sequence[Record], policy: Policy) -> Course:
    """How often a policy would have retrained on what was measured, and what it would have cost.

    Signals are those that were recorded, of the models that served in fact. Rows are those of the last decision before,
    or of the first. No candidate is taken to be rejected, and no release to be watched. What people and events from
    outside asked for is asked for under any policy.
    """
    taken_back = {
        each.at for each in records if isinstance(each, Release) and each.release_kind is ReleaseKind.ROLLBACK
    }
    history, walk = History(), _Walk(records, policy)
    for record in records:
        if isinstance(record, Signal):
            walk.hear(history, record)
        elif isinstance(record, Assessment) and record.at not in taken_back:
            walk.step(history, weigh.assess(history, policy, record.at))
        history.add(record)
        if isinstance(record, Review) and record.closing is Closing.CANCELED:
            walk.cancel(next(each for each in reversed(history.cycles) if each.review is record))
    return walk.found


def recorded(history: History) -> Course:
    """How often was retrained in fact, with what the decisions said that it costs."""
    found = Course(priced=any(cycle.decisions for cycle in history.cycles))
    for cycle in history.cycles:
        found.asked.append(cycle.request.at)
        found.outside += cycle.in_person is not None or Family.EXTERNAL.value in cycle.request.triggers
        if (run := cycle.run) is not None:
            found.ran.append((run.at, run.priority_class, run.cost_mrow_passes))
    return found


class _Walk:
    """A course on the way: what has run in it, and what waits."""

    def __init__(self, records: Sequence[Record], policy: Policy) -> None:
        self._policy = policy
        self._facts = [(each.at, each.facts) for each in records if isinstance(each, Decision)]
        requests = (each for each in records if isinstance(each, RetrainRequest))
        self._classes = {answered: each.priority_class for each in requests for answered in each.answers}
        self._waits: PriorityClass | None = None
        self._person: str | None = None
        self.found = Course(priced=bool(self._facts))

    def hear(self, history: History, signal: Signal) -> None:
        """A person's request waits until it has run, as urgent as it was made, or as what served it in fact."""
        if signal.family is not Family.EXTERNAL or signal.told_by is not None or signal.name != Verb.REQUEST.value:
            return
        served_by = history.open_cycle or history.training
        priority_class = self._classes.get(signal.id) or (served_by.request.priority_class if served_by else None)
        if priority_class is not None:
            self._ask(priority_class, signal.at, outside=True)
            self._person = str(signal.finding.observed)

    def cancel(self, cycle: Cycle) -> None:
        """What a person asked for and took back waits no more."""
        if cycle.in_person is not None and self._person == cycle.in_person:
            self._waits = self._person = None

    def step(self, history: History, assessment: Assessment) -> None:
        """What is asked for after an assessment, and what runs then."""
        at, last = assessment.at, self.found.ran[-1][0] if self.found.ran else None
        outside = [each for each in history.outside if weigh.asks(each, at) and (last is None or each.at > last)]
        asked = weigh.wished(assessment, outside, self._policy)
        if asked is not None:
            self._ask(asked.priority_class, at, outside=wish(assessment, self._policy.score) is None)
        if self._waits is None:
            return
        waited_for = self._person is not None or outside
        if not waited_for and choices.withdraw(max(assessment.decline, assessment.fresh), self._policy):
            self._waits = None
            return
        cost = self._cost(history, assessment, last)
        if cost is not None:
            self.found.ran.append((at, self._waits, cost))
            self._waits = self._person = None

    def _ask(self, priority_class: PriorityClass, at: datetime, *, outside: bool) -> None:
        if self._waits is None:
            self.found.asked.append(at)
            self.found.outside += outside
        classes = self._policy.classes
        self._waits = classes.known(min(self._waits or priority_class, priority_class, key=classes.rank))

    def _cost(self, history: History, assessment: Assessment, last: datetime | None) -> float | None:
        """What a training that may run now costs, 0 where there are no facts to tell by; None where it may not run."""
        facts = self._facts_at(assessment.at)
        assert self._waits is not None
        if facts is None:
            return 0.0
        situation = weigh.situation(history, assessment, facts, self._policy, assessment.at, self._person)
        spent = [(time, cost) for time, _, cost in self.found.ran]
        situation = replace(situation, last_run=last, spent=spent, rejections=0, looks=None)
        choice = choices.decide(self._waits, situation, self._policy)
        return choice.cost_mrow_passes if choice.action is Action.RUN else None

    def _facts_at(self, at: datetime) -> Facts | None:
        before = [each for when, each in self._facts if when <= at]
        return before[-1] if before else self._facts[0][1] if self._facts else None
