"""What the records say so far: the state of one model, folded from its decisions in order.

Nothing here is stored; a restart folds the ledger again and stands where it stood.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from hpcretrain import lifecycle
from hpcretrain.backlog import ALL, Stop
from hpcretrain.cycle import Cycle, answer
from hpcretrain.errors import LedgerError
from hpcretrain.records import (
    Action,
    Activation,
    Approval,
    Ask,
    Asked,
    Assessment,
    Baseline,
    BreakGlass,
    Candidate,
    Closing,
    Decision,
    Family,
    GlassReview,
    Job,
    Outcome,
    Proposal,
    Record,
    Release,
    ReleaseKind,
    RetrainRequest,
    Review,
    Signal,
    Verdict,
    Watch,
)

Span = tuple[datetime, datetime]


@dataclass
class History:
    """The fold over a model's records, in the order of the ledger."""

    known: dict[str, Record] = field(default_factory=dict)
    baseline: Baseline | None = None
    activation: Activation | None = None
    """Of the policy in force."""
    proposals: dict[str, Proposal] = field(default_factory=dict)
    """Those that neither took effect nor were denied, by identifier."""
    asked: dict[str, tuple[Ask, list[Approval]]] = field(default_factory=dict)
    """What was asked about proposals last, by the identifier of the proposal, with what was said so far."""
    releases: list[Release] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)
    """Those about the model that serves."""
    heard: list[Signal] = field(default_factory=list)
    """Those about it that were told."""
    told: set[tuple[object, ...]] = field(default_factory=set)
    """What was told, to know it when it is told again."""
    outside: list[Signal] = field(default_factory=list)
    """Those that came from outside, whichever model served."""
    _at: dict[datetime, list[Signal]] = field(default_factory=dict)
    """The signals by their times, and these in order: a home may live long without a release."""
    _times: list[datetime] = field(default_factory=list)
    _numbered: dict[tuple[Family, str], list[Signal]] = field(default_factory=dict)
    assessment: Assessment | None = None
    cycles: list[Cycle] = field(default_factory=list)
    _places: dict[str, int] = field(default_factory=dict)
    """Which of them each record belongs to."""
    going: list[Cycle] = field(default_factory=list)
    """Those of them that have not ended."""
    ran: list[Cycle] = field(default_factory=list)
    """Those of them whose training was ordered."""
    verdicts: list[Verdict] = field(default_factory=list)
    costs: list[tuple[datetime, float]] = field(default_factory=list)
    """Modeled cost of trainings that a cycle ordered, with their times."""
    quarantine: list[Span] = field(default_factory=list)
    """Stretches of rows that failed the data gate."""
    slots: list[Span] = field(default_factory=list)
    """All observed slots."""
    stops: dict[str, Signal] = field(default_factory=dict)
    """Orders to stop that stand, by their scope: "model" or a class."""
    broken: list[BreakGlass] = field(default_factory=list)
    glass_reviews: dict[str, GlassReview] = field(default_factory=dict)
    """By the identifier of what is reviewed."""
    rejections: int = 0
    """Rejected candidates since the last release."""

    @classmethod
    def fold(cls, records: Iterable[Record]) -> History:
        """The state after `records`."""
        history = cls()
        for record in records:
            history.add(record)
        return history

    @property
    def champion(self) -> Release:
        """The release that serves.

        Raises:
            LedgerError: There is none yet.
        """
        if not self.releases:
            raise LedgerError("no model serves yet")
        return self.releases[-1]

    def served_at(self, moment: datetime) -> Release | None:
        """The release that served at a time; None before the first."""
        return next((each for each in reversed(self.releases) if each.at <= moment), None)

    @property
    def standing(self) -> list[Signal]:
        """What was told from outside that no release has answered.

        A release that was taken back answered nothing. What names neither deadline nor effect asks for one training.
        """
        if not self.outside:
            return []
        since = min(each.at for each in self.releases if each.candidate == self.champion.candidate)
        ended = [each for each in self.cycles if each.review is not None]
        judged = max((each.run.at for each in ended if each.run and not each.broken_off), default=None)
        return [
            each
            for each in self.outside
            if each.told_by is not None
            and each.at >= since
            and (each.deadline is not None or each.effect is not None or judged is None or each.at > judged)
        ]

    @property
    def earlier(self) -> Release | None:
        """The release that served before what serves now was first released; None where that is the first."""
        candidate = self.champion.candidate
        made = next(each for each in self.releases if each.candidate == candidate)
        return self.release(made.previous) if made.previous else None

    @property
    def learned(self) -> Span:
        """From the first row to the last that the champion, or a member of it, could have learned."""
        windows = [each.window for fit in self.fits for each in self._grown(fit)]
        return min(window.start for window in windows), max(window.end for window in windows)

    @property
    def fits(self) -> list[Candidate]:
        """The fits that the champion is made of, the newest first."""
        champion = self.known[self.champion.candidate]
        assert isinstance(champion, Candidate)
        members = [self.known[member] for member in champion.members]
        return [fit for fit in members if isinstance(fit, Candidate)] or [champion]

    def size(self, fit: Candidate, passes: int) -> float:
        """How large a fit is, in fits from nothing of so many passes: warm starts add to what they went on from."""
        jobs = [self.known.get(each.answers[0]) for each in self._grown(fit)]
        return 1 + sum(job.start.passes / passes for job in jobs if isinstance(job, Job) and job.start)

    @property
    def warm_starts(self) -> int:
        """How many warm starts in a row the newest fit of what serves comes from; 0 before anything serves."""
        return sum(1 for _ in self._grown(self.fits[0])) - 1 if self.releases else 0

    def _grown(self, fit: Candidate) -> Iterator[Candidate]:
        """A fit, and those that it went on from."""
        each: Record | None = fit
        while isinstance(each, Candidate):
            yield each
            job = self.known.get(each.answers[0])
            each = self.known.get(job.start.candidate) if isinstance(job, Job) and job.start else None

    @property
    def open_cycle(self) -> Cycle | None:
        """The request that waits for a decision to run."""
        return next((each for each in self.cycles[-1:] if each.review is None and each.run is None), None)

    @property
    def training(self) -> Cycle | None:
        """The cycle whose decision was to run and of which nothing came yet; a more urgent request may be open."""
        return next((each for each in reversed(self.going) if each.under_way), None)

    @property
    def watched(self) -> Cycle | None:
        """The cycle whose release is still being watched; a newer request may be waiting meanwhile."""
        return next((each for each in reversed(self.going) if each.release), None)

    @property
    def review_owed(self) -> BreakGlass | None:
        """That somebody broke the glass, and nobody has reviewed it yet."""
        return next((each for each in self.broken if each.id not in self.glass_reviews), None)

    @property
    def last_run(self) -> datetime | None:
        """When a training was last ordered that was, or is to be, seen through."""
        ended = (each for each in reversed(self.ran) if not each.under_way and not each.broken_off)
        return next((each.run.at for each in ended if each.run), None)

    def open_asks(self, now: datetime) -> list[tuple[Ask, list[Approval]]]:
        """What awaits an answer until it expires, with what was said so far.

        Of each cycle that goes on it is what was asked last; about policies, whatever was proposed.
        """
        found = [
            (ask, cycle.approvals.get(ask.id, []))
            for cycle in self.going
            if cycle.release is None
            for ask in cycle.asks[-1:]
            if not (cycle.run and ask.asked is Asked.RUN)
        ]
        found += [self.asked[each] for each in self.proposals if each in self.asked]
        return [(ask, said) for ask, said in found if answer(ask, said) is None and now < ask.expires_at]

    def release(self, identifier: str) -> Release:
        """The release of that identifier.

        Raises:
            LedgerError: There is none.
        """
        record = self.known.get(identifier)
        if not isinstance(record, Release):
            raise LedgerError(f"{identifier} is no release in this ledger")
        return record

    @property
    def standing_stops(self) -> tuple[Stop, ...]:
        """The stops that stand here, by the scope that `resume` takes: "model" or a class."""
        return tuple(
            Stop(scope, str(signal.finding.observed), signal.at, signal.finding.reason)
            for scope, signal in self.stops.items()
        )

    def deadline(self, cycle: Cycle) -> datetime | None:
        """Until when a request is to be served, by whoever asked for it; None where nobody said."""
        said = [each.slot for each in self.outside if each.id in cycle.request.answers]
        if Family.EXTERNAL.value in cycle.request.triggers and not said:
            return min((each.deadline for each in self.standing if each.deadline), default=None)
        return next((slot.end for slot in said if slot.end != slot.start), None)

    def signals_since(self, moment: datetime) -> list[Signal]:
        """The signals of after a moment, and of each name the last with a number before: what was heard is held."""
        last = []
        for signals in self._numbered.values():
            place = bisect_right(signals, moment, key=lambda signal: signal.at)
            if place:
                last.append(signals[place - 1])
        return [*last, *self.signals_after(moment)]

    def signals_after(self, moment: datetime | None) -> list[Signal]:
        """The signals about the model that serves, of after a moment; without one, of the newest time."""
        first = bisect_right(self._times, moment) if moment is not None else max(len(self._times) - 1, 0)
        return [signal for at in self._times[first:] for signal in self._at[at]]

    def accepted(self) -> list[Span]:
        """Observed slots that are not quarantined."""
        bad = set(self.quarantine)
        return [slot for slot in self.slots if slot not in bad]

    def add(self, record: Record) -> None:
        """Take in the next record.

        Raises:
            LifeCycleError: It does not follow from what it answers.
        """
        if record.id in self.known:
            raise LedgerError(f"{record.id} is in the ledger already")
        lifecycle.check(record, self.known)
        self.known[record.id] = record
        match record:
            case Baseline():
                self.baseline = record
            case Signal():
                self._add_signal(record)
            case Assessment():
                self.assessment = record
            case Proposal():
                self.proposals[record.id] = record
            case Activation():
                if self.activation is None or self.activation.policy_digest != record.policy_digest:
                    # What was proposed against the policy before would have to be weighed anew.
                    self.proposals, self.asked = {}, {}
                self.activation = record
            case Ask(asked=Asked.POLICY):
                self.asked[record.subject] = (record, [])
            case Ask():
                self._cycle_of(record).asks.append(record)
            case Approval():
                self._add_approval(record)
            case BreakGlass():
                self.broken.append(record)
                self._cycle_of(record).broken.append(record)
            case GlassReview():
                self.glass_reviews[record.answers[0]] = record
            case RetrainRequest():
                self._places[record.id] = len(self.cycles)
                self.cycles.append(Cycle(record, self._asked_for(record)))
                self.going.append(self.cycles[-1])
            case Decision():
                decided = self._cycle_of(record)
                decided.decisions.append(record)
                if record.action is Action.RUN and decided.run is None:
                    decided.run = record
                    self.ran.append(decided)
            case Job():
                self._add_job(record)
            case Verdict():
                self.verdicts.append(record)
                self._cycle_of(record).verdicts.append(record)
            case Release():
                self._add_release(record)
            case Watch():
                self._cycle_of(record).watches.append(record)
            case Review():
                self._add_review(record)
            case Candidate():
                if self.releases:
                    self._cycle_of(record).candidates[record.id] = record

    def _add_review(self, review: Review) -> None:
        ended = self._cycle_of(review, review.answers[:1])
        ended.review = review
        self.going = [each for each in self.going if each is not ended]
        if review.closing is Closing.REJECTED:
            self.rejections += 1

    def _add_approval(self, approval: Approval) -> None:
        ask = self.known[approval.answers[0]]
        if not isinstance(ask, Ask) or ask.asked is not Asked.POLICY:
            self._cycle_of(approval).approvals.setdefault(approval.answers[0], []).append(approval)
            return
        self.asked[ask.subject][1].append(approval)
        if approval.outcome is not Outcome.PASS:
            self.proposals.pop(ask.subject, None)

    def _asked_for(self, request: RetrainRequest) -> str | None:
        asked = [signal for signal in self.outside if signal.id in request.answers]
        return str(asked[0].finding.observed) if asked else None

    def _cycle_of(self, record: Record, answers: Sequence[str] = ()) -> Cycle:
        """The newest cycle that holds something of what the record answers; it holds the record from now on."""
        known = [self._places[each] for each in answers or record.answers if each in self._places]
        if not known:
            raise LedgerError(f"{record.id} answers nothing of any cycle")
        self._places[record.id] = max(known)
        return self.cycles[max(known)]

    def _add_signal(self, signal: Signal) -> None:
        if signal.told_by is not None:
            self.told.add(signal.said)
        if signal.family is Family.EXTERNAL:
            self.outside.append(signal)
            if signal.told_by is not None:
                return
            verb, _, scope = signal.name.partition(":")
            # A stop of every model stands on the board, where each home may lift it.
            if verb == "stop" and scope != ALL:
                self.stops[scope] = signal
            elif verb == "resume":
                self.stops.pop(scope, None)
            return
        if signal.told_by is not None:
            # What was measured before the last release is about the model before it; rows are quarantined here alone.
            if signal.answers == (self.champion.id,):
                self.heard.append(signal)
            return
        span = (signal.slot.start, signal.slot.end)
        self.signals.append(signal)
        if signal.lower_bound is not None:
            insort(self._numbered.setdefault((signal.family, signal.name), []), signal, key=lambda each: each.at)
        if signal.at not in self._at:
            insort(self._times, signal.at)
        self._at.setdefault(signal.at, []).append(signal)
        if signal.family is not Family.DATA_QUALITY:
            return
        if not signal.name.startswith("label") and span not in self.slots[-1:]:
            self.slots.append(span)
        if signal.finding.outcome in (Outcome.FAIL, Outcome.ERROR) and span not in self.quarantine:
            self.quarantine.append(span)

    def _add_job(self, job: Job) -> None:
        if self.releases:
            self._cycle_of(job).jobs.append(job)
            self.costs.append((job.at, job.cost_mrow_passes))

    def _add_release(self, release: Release) -> None:
        self.releases.append(release)
        self.signals, self._at, self._times, self._numbered = [], {}, [], {}
        self.assessment = None
        if release.release_kind is ReleaseKind.PROMOTION:
            self._cycle_of(release).release = release
            self.rejections = 0
        elif release.release_kind is ReleaseKind.ROLLBACK:
            taken = self.releases[-2].candidate
            for each in self.cycles:
                if each.release and each.release.candidate == taken:
                    each.rollback = release
            self.rejections += 1
