"""What people are told: of everything that they should act on, once, with the command."""

from __future__ import annotations

import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from whole_cycle import position, whole_cycle

from hpcretrain.config.load import shipped_policy
from hpcretrain.config.routes import _Route
from hpcretrain.history import History
from hpcretrain.policy.escalate import StageName
from hpcretrain.policy.types import Deadlines
from hpcretrain.records import (
    Action,
    Approval,
    Ask,
    BreakGlass,
    Decision,
    Finding,
    Outcome,
    Record,
    Release,
    ReleaseKind,
)
from hpcretrain.report.explain import headline
from hpcretrain.report.notices import Notice, notices, special
from hpcretrain.report.templates import STAGES, TEMPLATES, Told

HOUR = timedelta(hours=1)
POLICY = shipped_policy()


def told(records: list[Record], after: timedelta = HOUR) -> dict[str, Notice]:
    found = notices(History.fold(records), POLICY, "/a home", records[-1].at + after)
    assert len({each.id for each in found}) == len(found)
    for each in found:
        assert each.title.isprintable()
        assert "{" not in each.title + each.text + each.next
        assert each.content["next"] == each.next
    return {each.event.value: each for each in found}


def until(kind: type[Record], occurrence: int = 0) -> list[Record]:
    return whole_cycle()[: position(kind, occurrence) + 1]


def test_an_approval_is_called_for_with_its_facts_and_again_before_it_expires() -> None:
    records = until(Ask)
    now = told(records)
    assert set(now) == {"approval_needed"}
    notice, ask = now["approval_needed"], records[-1]
    assert notice.title == "m: the release (standard) awaits an approval"
    assert f"hpcretrain approve {ask.id} --home '/a home'" in notice.next
    assert "- x: fine" in notice.text
    assert notice.id == told(records, 2 * HOUR)["approval_needed"].id
    late = told(records, timedelta(hours=40))
    assert late["approval_expires"].tier == 2
    assert "said so far: nobody" in late["approval_expires"].text
    assert not told(records, timedelta(days=3)), "expired"


def test_a_policy_that_awaits_approval_is_told_without_a_class_and_escalates() -> None:
    records = until(Ask, 1)
    now = told(records)
    notice, ask = now["approval_needed"], records[-1]
    assert notice.title == "m: another policy awaits an approval"
    assert "class" not in notice.facts
    assert f"hpcretrain approve {ask.id} --home" in notice.next
    assert "asked for by ann" in notice.text
    assert headline(ask).startswith("may the policy take effect, requested by ann? until ")
    policy = POLICY.model_copy(update={"deadlines": Deadlines(approval_h=1)})
    over = notices(History.fold(records), policy, "/h", records[-1].at + 2 * HOUR)
    assert f"overrun:approval:{ask.id}:2" in {each.id for each in over}
    assert told(records, timedelta(hours=80))["approval_expires"]
    answered = told(until(Approval, 1))
    assert "approval_needed" not in answered


def test_broken_glass_is_told_and_every_notice_says_that_a_review_is_owed() -> None:
    records = until(BreakGlass)
    now = told(records)
    assert now["break_glass"].tier == 2
    assert f"hpcretrain review {records[-1].id}" in now["break_glass"].next
    assert all("REVIEW OWED: bob broke the glass" in each.text for each in now.values())
    assert told(records, timedelta(days=30))["break_glass"], "told while it stands, however old"


def test_what_serves_is_told_and_what_was_taken_back_while_it_is_news() -> None:
    records = until(Release, 1)
    assert "another model serves (standard)" in told(records)["released"].title
    assert "released" not in told(records, timedelta(days=4))
    back = told(until(Release, 2))
    assert back["rolled_back"].tier == 2
    assert isinstance(records[-1], Release)
    assert records[-1].release_kind is ReleaseKind.PROMOTION


def test_a_stage_that_takes_too_long_is_told_with_what_to_do() -> None:
    records = until(BreakGlass)
    over = told(records, timedelta(days=3))["overrun"]
    assert over.title == "m: review takes 72 h, 48 h are allowed (tier 1)"
    assert over.next.startswith(f"hpcretrain review {records[-1].id} --home '/a home'")


@pytest.mark.parametrize("event", list(Told))
def test_every_template_says_what_to_do_and_its_title_is_one_line(event: Told) -> None:
    template = TEMPLATES[event]
    assert template.next
    assert "\n" not in template.title
    assert 1 <= template.tier <= 5
    names = {name for text in (template.title, template.text, template.next) for _, name, *_ in _fields(text) if name}
    assert "model" in names


def _fields(text: str) -> list[tuple[str, str | None, str | None, str | None]]:
    return list(string.Formatter().parse(text))


def test_every_stage_says_what_to_do_and_routes_know_every_event() -> None:
    assert set(STAGES) == set(StageName)
    known = _Route.model_fields["events"].annotation
    assert {each.value for each in Told} - {"test"} <= set(str(known).replace("'", " ").split())


def test_a_test_and_a_damaged_ledger_are_told_without_records() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for event in (Told.TEST, Told.LEDGER_DAMAGED):
        notice = special(event, "/h", "m", "row 3", now)
        assert notice.title
        assert notice.text
        assert notice.next


SUNDAY = "from 2024-01-07T02:00Z to 2024-01-07T05:00Z"
MONDAY = "from 2024-01-08T02:00Z to 2024-01-08T05:00Z"


def decided(at: timedelta, outcome: Outcome, reason: str) -> Decision:
    """The decision of the cycle, so much later, with what it found about a window."""
    [*_, decision] = until(Decision)
    assert isinstance(decision, Decision)
    action = Action.RUN if outcome is Outcome.PASS else Action.WAIT
    window = Finding("window", outcome, reason, 4.0 if "is open" in reason else 0, 3.0)
    return replace(decision, at=decision.at + at, action=action, outcome=outcome, findings=(window,))


def test_a_window_is_announced_once_and_that_a_training_began_in_it() -> None:
    before = until(Decision)[:-1]
    share = "expected traffic {}% of the mean"
    first = decided(timedelta(0), Outcome.WAIT, f"the next window is {SUNDAY}, {share.format(12)}")
    again = decided(HOUR, Outcome.WAIT, f"the next window is {SUNDAY}, {share.format(11)}")
    other = decided(2 * HOUR, Outcome.WAIT, f"the next window is {MONDAY}, {share.format(9)}")
    planned = told([*before, first])["window_planned"]
    assert "2024-01-07T02:00Z" in planned.text
    assert "hpcretrain stop --class" in planned.next
    assert told([*before, first, again])["window_planned"].id == planned.id, "what traffic is expected is no news"
    assert told([*before, first, again, other])["window_planned"].id != planned.id
    begun = decided(3 * HOUR, Outcome.PASS, f"the window {MONDAY} is open, {share.format(9)}")
    now = told([*before, first, other, begun])
    assert "window_planned" not in now
    assert "is open" in now["window_begun"].text
    assert "window_begun" not in told([*before, begun], timedelta(days=4)), "no news any more"


def test_a_request_that_has_no_window_to_wait_for_announces_none() -> None:
    before = until(Decision)[:-1]
    none = decided(HOUR, Outcome.INSUFFICIENT, "no window of the next 7 days has room")
    assert not {"window_planned", "window_begun"} & set(told([*before, none]))


def test_a_window_that_is_not_waited_for_any_more_or_was_never_open_is_not_announced() -> None:
    before = until(Decision)[:-1]
    planned = f"the next window is {SUNDAY}, expected traffic 12% of the mean"
    waits = decided(timedelta(0), Outcome.WAIT, planned)
    headroom = Finding("headroom:serving", Outcome.WAIT, "serving is slow", 30, 20)
    urgent = replace(decided(HOUR, Outcome.WAIT, planned), findings=(headroom,))
    assert "window_planned" not in told([*before, waits, urgent])
    for reason in (f"{planned}; set aside: ann broke the glass", "3 days of history; the policy runs without history"):
        assert "window_begun" not in told([*before, decided(HOUR, Outcome.PASS, reason)])
