"""Each cycle told: what asked for it, what was decided, trained, judged, released, watched and found in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from hpcretrain.cycle import Cycle
from hpcretrain.history import History
from hpcretrain.records import (
    Action,
    Candidate,
    Closing,
    Finding,
    Job,
    Outcome,
    Purpose,
    Reading,
    Record,
    Release,
    ReleaseKind,
    Stage,
    Verdict,
    Window,
)
from hpcretrain.report import members, wording

_CLOSINGS = {
    Closing.KEPT: ("good", "Released and kept"),
    Closing.ROLLED_BACK: ("bad", "Released, then rolled back"),
    Closing.REJECTED: ("bad", "Not released"),
    Closing.DROPPED: ("quiet", "Withdrawn"),
    Closing.CANCELED: ("quiet", "Canceled"),
    Closing.SUPERSEDED: ("quiet", "Gave way"),
}
_ACTIONS = {Action.RUN: "Train", Action.WAIT: "Wait", Action.HOLD: "Hold for a person", Action.DROP: "Withdraw"}
_PURPOSES = {
    Purpose.PILOT: "on a sample, to compete",
    Purpose.JUDGE: "to be judged on rows that it has not seen",
    Purpose.REFIT: "in full, once its twin was judged",
}
_STAGES = {
    Stage.SELECTION: "The pilots compete, and the winner must promise a gain",
    Stage.GATE: "The winner meets the champion at the gate",
    Stage.REFIT: "The full fit stands in for its judged twin",
}
_STOPS = {Stage.SELECTION: "No pilot good enough", Stage.GATE: "Stopped at the gate"}
_LOOKS = {Outcome.PASS: "The release is kept.", Outcome.FAIL: "The release is taken back."}
_MOST_TOLD = 40


@dataclass(frozen=True)
class Evidence:
    """A finding as the page shows it."""

    outcome: str
    word: str
    check: str
    reason: str
    observed: str
    limit: str


@dataclass(frozen=True)
class Step:
    """One step of a cycle."""

    when: str
    title: str
    text: str
    outcome: str = ""
    """The outcome's name where the step has one."""
    evidence: tuple[Evidence, ...] = ()
    passed: tuple[Evidence, ...] = ()
    """Checks that passed, where they are kept apart."""
    hidden: int = 0
    """Checks that passed and are not listed."""
    facts: tuple[tuple[str, str], ...] = ()
    id: str = ""


@dataclass(frozen=True)
class Story:
    """One cycle."""

    id: str
    when: str
    tone: str
    """"good", "bad" or "quiet"."""
    end: str
    priority_class: str
    score: int
    why: str
    cpu: str
    steps: tuple[Step, ...]


def ending(cycle: Cycle) -> tuple[str, str]:
    """How a cycle ended, or stands: its tone and the words."""
    if cycle.review is not None:
        tone, words = _CLOSINGS[cycle.review.closing]
        if cycle.review.closing is Closing.REJECTED and cycle.judged is not None:
            return tone, _STOPS.get(cycle.judged.stage, words)
        return tone, words
    if cycle.release is not None:
        return "good", "Released, still watched"
    if cycle.run is not None:
        awaits = any(cycle.answer(ask) is None for ask in cycle.asks)
        return "quiet", "Awaits an approval" if awaits else "In training"
    held = cycle.decisions and cycle.decisions[-1].action is Action.HOLD
    return "quiet", "Held for a person" if held else "Still waiting"


def stories(history: History, cpu_s: Callable[[str], float], zone: ZoneInfo) -> list[Story]:
    """All cycles, in order; of very many, only the newest with their steps."""
    older = len(history.cycles) - _MOST_TOLD
    places = {identifier: place for place, identifier in enumerate(history.known)}
    told = [_story(cycle, history, places, cpu_s, zone) for cycle in history.cycles]
    return [replace(story, steps=()) if number < older else story for number, story in enumerate(told)]


def evidence(findings: Iterable[Finding]) -> tuple[Evidence, ...]:
    """Findings to be shown, the worst first."""
    ordered = sorted(findings, key=lambda finding: -finding.outcome.severity)
    return tuple(
        Evidence(
            finding.outcome.value,
            wording.OUTCOMES[finding.outcome],
            finding.check,
            finding.reason,
            wording.digits(finding.observed),
            wording.digits(finding.limit),
        )
        for finding in ordered
    )


def _story(
    cycle: Cycle, history: History, places: Mapping[str, int], cpu_s: Callable[[str], float], zone: ZoneInfo
) -> Story:
    tone, end = ending(cycle)
    request = cycle.request
    # Fits and verdicts take turns: pilots, their selection, the gate, the full fit, its check.
    judged = [_judged(verdict, history.known, zone) for verdict in cycle.verdicts]
    acts = sorted([*_trained(cycle, cpu_s, zone), *judged], key=lambda step: places[step.id])
    steps = [_asked(cycle, zone), *_decided(cycle, zone), *acts, *_after(cycle, history.known, zone)]
    return Story(
        id=request.id,
        when=wording.day(request.at, zone),
        tone=tone,
        end=end,
        priority_class=request.priority_class.value,
        score=request.score,
        why=wording.capitalized(wording.families(request.triggers)),
        cpu=wording.seconds(sum(cpu_s(job.id) for job in cycle.jobs)) if cycle.jobs else "",
        steps=tuple(steps),
    )


def _asked(cycle: Cycle, zone: ZoneInfo) -> Step:
    request = cycle.request
    points = sorted(request.contributions.items(), key=lambda item: -item[1])
    return Step(
        when=wording.day(request.at, zone),
        title="Asked",
        text=f"{wording.capitalized(request.reason)}. Class {request.priority_class.value}.",
        facts=tuple((wording.capitalized(wording.family(name)), f"{value} points") for name, value in points if value),
        id=request.id,
    )


def _decided(cycle: Cycle, zone: ZoneInfo) -> list[Step]:
    steps = []
    for decision in cycle.decisions:
        loud = [each for each in decision.findings if each.outcome is not Outcome.PASS]
        passed = [each for each in decision.findings if each.outcome is Outcome.PASS]
        # While a request waits the same checks pass again each time; only the last decision lists them.
        last = decision is cycle.decisions[-1]
        steps.append(
            Step(
                when=wording.day(decision.at, zone),
                title="Decided",
                text=f"{_ACTIONS[decision.action]}, class {decision.priority_class.value}"
                f"{_cost(decision.cost_mrow_passes)}.",
                outcome=decision.outcome.value,
                evidence=evidence(loud),
                passed=evidence(passed if last else ()),
                hidden=0 if last else len(passed),
                id=decision.id,
            )
        )
    return steps


def _trained(cycle: Cycle, cpu_s: Callable[[str], float], zone: ZoneInfo) -> list[Step]:
    return [
        Step(
            when=wording.day(job.at, zone),
            title="Trained",
            text=f"A model {_PURPOSES[job.purpose]}.",
            facts=(*_window(job.window, zone), ("CPU", wording.seconds(cpu_s(job.id)))),
            id=job.id,
        )
        for job in cycle.jobs
    ]


def _judged(verdict: Verdict, known: Mapping[str, Record], zone: ZoneInfo) -> Step:
    facts = [("About", _subject(known.get(verdict.candidate), verdict.candidate))]
    if verdict.holdout is not None:
        held = f"{verdict.holdout.rows:,} rows, {wording.span(verdict.holdout.start, verdict.holdout.end, zone)}"
        facts.append(("Judged on", held))
    if verdict.use > 1:
        facts.append(("Use of these rows", f"{verdict.use}, and paid for"))
    return Step(
        when=wording.day(verdict.at, zone),
        title="Judged",
        text=f"{_STAGES[verdict.stage]}: {wording.OUTCOMES[verdict.outcome]}.",
        outcome=verdict.outcome.value,
        evidence=evidence(verdict.findings),
        facts=(*facts, *_readings(verdict.readings)),
        id=verdict.id,
    )


def _subject(record: Record | None, identifier: str) -> str:
    """What a verdict is about, in words: a candidate, a refit, or a job that gave no model."""
    match record:
        case Candidate():
            kind = "the full fit" if record.purpose is Purpose.REFIT else "the pilot"
            kind = (
                f"the average of {kind} and {wording.plural(len(record.members) - 1, 'earlier fit')}"
                if record.members
                else kind
            )
            return f"{kind} of window “{record.window.name}”, {record.window.rows:,} rows"
        case Job():
            return f"a training of window “{record.window.name}” that gave no model"
    return identifier


def _after(cycle: Cycle, known: Mapping[str, Record], zone: ZoneInfo) -> list[Step]:
    steps = []
    if cycle.release is not None:
        release = cycle.release
        kind = "The refit" if release.candidate != release.twin else "The judged model"
        fits = members.fits(known, release)
        kind += f", averaged with {wording.plural(len(fits) - 1, 'earlier fit')}," if fits else ""
        facts = _made_of(release, fits, zone)
        when = wording.day(release.at, zone)
        steps.append(Step(when, "Released", f"{kind} serves from now on.", "pass", facts=facts, id=release.id))
    for watch in cycle.watches:
        text = _LOOKS.get(watch.outcome, "Not decided yet.")
        if watch.outcome is Outcome.PASS and watch.findings[0].outcome is Outcome.FAIL:
            text = (
                "The release is kept: the model before is better on the primary metric, but the release is better on a "
                "guard metric."
            )
        steps.append(
            Step(
                when=wording.day(watch.at, zone),
                title=f"Watched, look {watch.look}",
                text=text,
                outcome=watch.outcome.value,
                evidence=evidence(watch.findings),
                facts=(("Rows", f"{watch.slot.rows:,}"),),
                id=watch.id,
            )
        )
    if cycle.rollback is not None and cycle.rollback.release_kind is ReleaseKind.ROLLBACK:
        when, back = wording.day(cycle.rollback.at, zone), cycle.rollback
        text = f"Model {back.model_digest[:12]}, which served before, serves again."
        steps.append(Step(when, "Rolled back", text, "fail", id=back.id))
    if cycle.review is not None:
        review = cycle.review
        text = f"{wording.capitalized(review.gain.reason)}{_cost(review.cost_mrow_passes)}."
        steps.append(Step(wording.day(review.at, zone), "Reviewed", text, id=review.id))
    return steps


def _made_of(release: Release, fits: Sequence[Candidate], zone: ZoneInfo) -> tuple[tuple[str, str], ...]:
    """The model that was released, and the rows that it learned: of an average those of each fit."""
    digest = release.model_digest[:12]
    if not fits:
        return ("Model", digest), *_window(release.window, zone)
    names = ("Fresh fit", *("Earlier fit" for _ in fits[1:]))
    windows = [fact for name, fit in zip(names, fits, strict=True) for fact in _window(fit.window, zone, name)]
    return ("Model", f"{digest}, the average of {wording.plural(len(fits), 'fit')}"), *windows


def _window(window: Window, zone: ZoneInfo, name: str = "Window") -> tuple[tuple[str, str], ...]:
    rows = f"{window.rows:,} rows"
    if window.rows < window.population:
        rows = f"{window.rows:,} of {window.population:,} rows"
    facts = [(name, f"“{window.name}”: {rows}, {wording.span(window.start, window.end, zone)}")]
    if window.excluded:
        facts.append(("Left out", wording.plural(len(window.excluded), "quarantined stretch")))
    return tuple(facts)


def _readings(readings: Sequence[Reading]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (
            wording.capitalized(wording.metric(each.metric)),
            f"{wording.value(each.metric, each.value)} ± {wording.digits(each.se)} on {each.n:,} rows",
        )
        for each in readings
    )


def _cost(mrow_passes: float) -> str:
    return f"; modeled cost {wording.digits(mrow_passes)} million row-passes" if mrow_passes else ""
