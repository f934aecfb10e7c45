"""What people are told of a home by mail, webhook or program: what happened, since when, and what to do next.

All of it follows from the records and the time. A notice has the same identifier however often it is made, so that it
is sent once.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hpcretrain.canonical import plain
from hpcretrain.history import History
from hpcretrain.policy.escalate import Escalation, escalate
from hpcretrain.policy.types import Policy
from hpcretrain.records import Advice, Ask, Asked, Assessment, Family, Outcome, Release, ReleaseKind, Signal
from hpcretrain.report.explain import headline, owed, owed_line
from hpcretrain.report.templates import STAGES, TEMPLATES
from hpcretrain.report.templates import Told as Told

NEWS_LASTS = timedelta(days=3)
"""What happened longer ago is no news: who sets up a route is not told the past."""
_EXPIRES_SOON = 0.25
"""Share of an ask's time that is left when people are told again."""


_ADVICE = {
    Advice.HOLD_AND_INVESTIGATE: Told.HOLD_AND_INVESTIGATE,
    Advice.MEND_DATA: Told.MEND_DATA,
    Advice.COLLECT_LABELS: Told.COLLECT_LABELS,
}


@dataclass(frozen=True)
class Notice:
    """Something that people are told.

    Attributes:
        id: The same for the same news.
        event: What kind of news.
        tier: Whom to tell.
        at: Since when it is so; a thing that is still so is told however old it is, where `stands`.
        stands: Whether it is still so.
        facts: What fills the template.
    """

    id: str
    event: Told
    tier: int
    at: datetime
    stands: bool
    facts: Mapping[str, str]

    @property
    def title(self) -> str:
        """In one line."""
        return TEMPLATES[self.event].title.format_map(self.facts)

    @property
    def text(self) -> str:
        """What happened."""
        review = self.facts.get("review", "")
        return TEMPLATES[self.event].text.format_map(self.facts) + (f"\n\n{review}" if review else "")

    @property
    def next(self) -> str:
        """What to do."""
        return TEMPLATES[self.event].next.format_map(self.facts)

    @property
    def content(self) -> dict[str, Any]:
        """As what JSON can hold; see docs/reference/json.md."""
        told = {"id": self.id, "event": self.event.value, "tier": self.tier, "at": plain(self.at)}
        return {**told, "title": self.title, "text": self.text, "next": self.next, "facts": dict(self.facts)}


def notices(history: History, policy: Policy, home: str, now: datetime, *, queued: bool = False) -> tuple[Notice, ...]:
    """All that people are to be told by now, whether or not they were.

    Args:
        history: The state of the model.
        policy: The policy.
        home: The home, for the commands.
        now: The time.
        queued: Whether none of the jobs that are under way has begun.
    """
    if history.baseline is None:
        return ()
    review = owed(history)
    common = {
        "model": history.baseline.model,
        "home": shlex.quote(home),
        "review": owed_line(review) if review else "",
    }
    found = [
        *_asks(history, common, now),
        *_states(history, common),
        *_budget(history, common),
        *_windows(history, common),
        *_acts(history, common),
        *(_overrun(each, common) for each in escalate(history, policy, now, queued=queued)),
    ]
    return tuple(each for each in found if each.stands or now - each.at < NEWS_LASTS)


def special(event: Told, home: str, model: str, why: str, at: datetime) -> Notice:
    """A notice that no record gives rise to: of a damaged ledger, or a test."""
    facts = {"model": model, "home": shlex.quote(home), "why": why, "since": _moment(at)}
    return Notice(f"{event.value}:{_moment(at)}", event, TEMPLATES[event].tier, at, True, facts)


def _notice(event: Told, about: str, at: datetime, stands: bool, facts: Mapping[str, str]) -> Notice:
    told = {"since": _moment(at), "id": about, **facts}
    return Notice(f"{event.value}:{about}", event, TEMPLATES[event].tier, at, stands, told)


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _asks(history: History, common: Mapping[str, str], now: datetime) -> Iterator[Notice]:
    for ask, said in history.open_asks(now):
        facts = {**common, **_asked(ask), "said": ", ".join(each.actor for each in said) or "nobody"}
        yield _notice(Told.APPROVAL_NEEDED, ask.id, ask.at, True, facts)
        if (ask.expires_at - now) < _EXPIRES_SOON * (ask.expires_at - ask.at):
            yield _notice(Told.APPROVAL_EXPIRES, ask.id, ask.at, True, facts)


_WHAT = {Asked.RUN: "the training", Asked.RELEASE: "the release", Asked.POLICY: "another policy"}


def _asked(ask: Ask) -> dict[str, str]:
    # A policy is of no class, and beside what it would be each key has its value before.
    policy, wanted = ask.asked is Asked.POLICY, ask.priority_class.value
    beside = "before" if policy else "limit"
    facts = [f"- {each.check}: {each.reason}{_numbers(each.observed, each.limit, beside)}" for each in ask.facts]
    return {
        "what": _WHAT[ask.asked] + ("" if policy else f" ({wanted})"),
        **({} if policy else {"class": wanted}),
        "subject": ask.subject,
        "requester": ask.requester or "nobody in person",
        "needed": "an approval" if ask.needed == 1 else f"{ask.needed} approvals",
        "expires_at": _moment(ask.expires_at),
        "facts": "\n".join(facts),
    }


def _numbers(observed: object, limit: object, beside: str = "limit") -> str:
    if observed is None:
        return ""
    seen = f"{observed:.4g}" if isinstance(observed, float) else str(observed)
    most = f"{limit:.4g}" if isinstance(limit, float) else str(limit)
    return f" ({seen})" if limit is None else f" ({seen}, {beside} {most})"


def _states(history: History, common: Mapping[str, str]) -> Iterator[Notice]:
    """What helps against the state that the model is in, and what is not heard of: told once while it is so."""
    newest = history.assessment
    if newest is None:
        return
    if event := _ADVICE.get(newest.action):
        first = _since(history, newest)
        why = next((each.reason for each in newest.findings if each.check == "action"), headline(newest))
        facts = {**common, "score": str(newest.score), "why": why}
        yield _notice(event, first.id, first.at, True, facts)
    at = max((signal.at for signal in history.signals), default=None)
    for signal in history.signals:
        if signal.family is Family.BLIND and signal.at == at and signal.finding.outcome is not Outcome.PASS:
            blind = _blind_since(history, signal)
            facts = {**common, "subject": signal.name, "why": signal.finding.reason}
            yield _notice(Told.BLIND, blind.id, blind.at, True, facts)


def _since(history: History, newest: Assessment) -> Assessment:
    """The first of the assessments in a row, up to the newest, that say the same helps."""
    first = newest
    for record in reversed(history.known.values()):
        if isinstance(record, Release) or (isinstance(record, Assessment) and record.action is not newest.action):
            break
        if isinstance(record, Assessment):
            first = record
    return first


def _blind_since(history: History, newest: Signal) -> Signal:
    """The first of the signals in a row, up to the newest, that say that nothing is heard."""
    first = newest
    for signal in reversed(history.signals):
        if signal.name == newest.name and signal.family is Family.BLIND:
            if signal.finding.outcome is Outcome.PASS:
                break
            first = signal
    return first


def _budget(history: History, common: Mapping[str, str]) -> Iterator[Notice]:
    cycle = history.open_cycle
    if cycle is None or not cycle.decisions:
        return
    last = cycle.decisions[-1]
    spent = [each for each in last.findings if each.check == "budget" and each.outcome is not Outcome.PASS]
    for finding in spent:
        why = f"{finding.reason}{_numbers(finding.observed, finding.limit)}"
        first = next(each for each in cycle.decisions if any(f.check == "budget" for f in each.findings))
        facts = {**common, "subject": cycle.request.id, "why": why}
        yield _notice(Told.BUDGET_SPENT, cycle.request.id, first.at, True, facts)


def _windows(history: History, common: Mapping[str, str]) -> Iterator[Notice]:
    """The window that a request waits for, each once; and that a training began in one."""
    waits = history.open_cycle
    for cycle in history.going:
        found = [(each, said) for each in cycle.decisions for said in each.findings if said.check == "window"]
        if not found or found[-1][0] is not cycle.decisions[-1]:
            continue
        last, said = found[-1]
        facts = {**common, "subject": cycle.request.id, "class": last.priority_class.value, "why": said.reason}
        if cycle is waits and said.outcome is Outcome.WAIT:
            span = _span(said.reason)
            first = next(each for each, before in found if _span(before.reason) == span)
            yield _notice(Told.WINDOW_PLANNED, first.id, first.at, True, facts)
        # Hours left are seen only in a window that is open: neither in one that was set aside, nor without history.
        elif cycle.run is last and said.outcome is Outcome.PASS and said.observed:
            yield _notice(Told.WINDOW_BEGUN, last.id, last.at, False, facts)


def _span(reason: str) -> str:
    """The part of a finding that names the window: what traffic is expected in it changes from day to day."""
    return reason.partition(",")[0]


def _acts(history: History, common: Mapping[str, str]) -> Iterator[Notice]:
    """What was done."""
    for cycle in history.cycles:
        if cycle.release:
            wanted = cycle.decisions[-1].priority_class.value
            facts = {**common, "why": headline(cycle.release), "class": wanted}
            yield _notice(Told.RELEASED, cycle.release.id, cycle.release.at, False, facts)
        for broken in cycle.broken:
            facts = {
                **common,
                "subject": cycle.request.id,
                "why": broken.reason,
                "actor": broken.actor,
                "expires_at": _moment(broken.expires_at),
                "review_by": _moment(broken.review_by),
            }
            stands = broken.id not in history.glass_reviews
            yield _notice(Told.BREAK_GLASS, broken.id, broken.at, stands, facts)
    for release in history.releases:
        if release.release_kind is ReleaseKind.ROLLBACK:
            facts = {**common, "why": headline(history.known[release.answers[0]])}
            yield _notice(Told.ROLLED_BACK, release.id, release.at, False, facts)


def _overrun(found: Escalation, common: Mapping[str, str]) -> Notice:
    stretch = found.stretch
    facts = {
        **common,
        "stage": stretch.stage.value,
        "subject": stretch.subject,
        "since": _moment(stretch.since),
        "hours": f"{found.hours:.3g}",
        "limit_h": f"{stretch.limit_h:.3g}",
        "tier": str(found.tier),
        "id": stretch.subject,
    }
    facts["do"] = STAGES[stretch.stage].format_map(facts)
    return Notice(found.id, Told.OVERRUN, found.tier, stretch.since, True, facts)
