"""What Prefect is told of each record."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

from records_for_tests import POLICY

from hpcretrain.canonical import canonical
from hpcretrain.history import History
from hpcretrain.records import KINDS, Assessment, Decision, Outcome, Record, RetrainRequest, Signal
from hpcretrain.report.events import DECIDED, DRIFT, TOLD, Event, cycles, events
from hpcretrain.report.page import Source

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "events.md"


def told(history: History, home: str = "/h", *, of: type[Record] = Record) -> list[Event]:
    return events([each for each in history.known.values() if isinstance(each, of)], history, home, POLICY)


def test_each_record_is_told_once_but_for_signals_that_passed(changed: Source) -> None:
    known = changed.history.known
    wanted = [
        each.id for each in known.values() if not (isinstance(each, Signal) and each.finding.outcome is Outcome.PASS)
    ]
    assert [each.record for each in told(changed.history) if each.name != DRIFT] == wanted
    assert any(identifier.startswith("signal-") for identifier in wanted)
    assert any(isinstance(each, Signal) and each.id not in wanted for each in known.values())


def test_an_event_has_the_same_identifier_whenever_it_is_told_and_another_in_another_home(changed: Source) -> None:
    first, second = told(changed.history), told(History.fold(changed.history.known.values()))
    assert first == second
    assert len({each.id for each in first}) == len(first)
    assert not {each.id for each in first} & {each.id for each in told(changed.history, "/elsewhere")}


def test_drift_is_told_of_every_assessment_that_a_request_followed(changed: Source) -> None:
    history = changed.history
    drift = {each.record: each.payload for each in told(history, of=Assessment) if each.name == DRIFT}
    requests = [each for each in history.known.values() if isinstance(each, RetrainRequest)]
    assert requests
    for request in requests:
        payload = drift[request.answers[0]]
        assert payload["score"] == request.score
        assert payload["priority_class"] == request.priority_class.value
        assert payload["families"] == list(request.triggers)
    low = POLICY.score.threshold
    quiet = [each.id for each in history.known.values() if isinstance(each, Assessment) and each.score < low]
    assert quiet, "there are assessments that call for nothing"
    assert not set(quiet) & set(drift)


def test_a_decision_is_told_with_its_request_and_what_it_orders(changed: Source) -> None:
    decisions = {each.id: each for each in changed.history.known.values() if isinstance(each, Decision)}
    for event in told(changed.history, of=Decision):
        decision = decisions[event.record]
        assert event.name == DECIDED
        assert event.payload["action"] == decision.action.value
        assert event.payload["decision"] == decision.id
        assert event.payload["request"] == event.payload["cycle"] == decision.answers[0]


def test_cycles_are_those_of_requests_and_of_the_first_champion(changed: Source) -> None:
    history = changed.history
    assert history.baseline is not None
    found = cycles(history.known.values(), history)
    assert found == [history.baseline.id, *(each.request.id for each in history.cycles)]
    assert not cycles([each for each in history.known.values() if isinstance(each, Signal | Assessment)], history)


def documented() -> dict[str, set[str]]:
    """The keys of each event's payload, as the document tells."""
    text = DOCUMENT.read_text(encoding="utf-8")
    table = {}
    for line in text.splitlines():
        match = re.fullmatch(r"\| `(hpcretrain\.\w+)` \|[^|]*\|(.*)\|", line)
        if match:
            table[match[1]] = set(re.findall(r"`(\w+)`", match[2]))
    every = re.search(r"^Every payload holds (.*?)\.$", text, re.MULTILINE | re.DOTALL)
    assert every
    return {**table, "": set(re.findall(r"`(\w+)`", every[1]))}


def test_the_document_lists_every_event_with_the_keys_of_its_payload(changed: Source) -> None:
    table = documented()
    common = table.pop("")
    assert set(table) == {f"hpcretrain.{kind}" for kind in KINDS if kind != "decision"} | {DECIDED, DRIFT}
    for kind, names in TOLD.items():
        assert set(names) <= {field.name for field in dataclasses.fields(KINDS[kind])}
        assert set(names) <= table[DECIDED if kind == "decision" else f"hpcretrain.{kind}"]
    for event in told(changed.history):
        always: dict[str, Any] = json.loads(canonical(event.payload))
        extra = set(always) - common
        assert common <= set(always), event.name
        assert extra == table[event.name], event.name
