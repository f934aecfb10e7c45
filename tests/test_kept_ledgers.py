"""What was decided by the rules of a version, and was written down then, is made again by the code of today."""

from __future__ import annotations

import json
from dataclasses import replace

import kept_ledgers
import pytest

from hpcretrain.again import replay
from hpcretrain.config.load import read_policy
from hpcretrain.history import History
from hpcretrain.records import KINDS, RULE_VERSION, Record

KEPT = kept_ledgers.kept()


@pytest.mark.parametrize("name", KEPT)
def test_what_was_decided_then_is_decided_again_to_the_byte(name: str) -> None:
    found = list(replay(KEPT[name], read_policy))
    assert len(found) > 20
    assert [(each.record.id, each.why) for each in found if each.same is not True] == []


@pytest.mark.parametrize("name", [name for name in KEPT if name.startswith(f"rules-{RULE_VERSION}-")])
def test_records_say_what_they_said_then(name: str) -> None:
    for each in KEPT[name]:
        assert json.loads(replace(each).body) == json.loads(each.body)
    History.fold(KEPT[name])


def test_ledgers_of_the_rules_in_force_are_kept_with_every_kind_of_record_and_answer() -> None:
    records = [each for name, some in KEPT.items() if name.startswith(f"rules-{RULE_VERSION}-") for each in some]
    assert {each.kind for each in records} == set(KINDS)
    assert _answers(records, "action") >= {"run", "wait", "drop", "retrain", "nothing"}
    assert _answers(records, "closing") >= {"dropped", "kept", "rejected", "rolled_back"}


def _answers(records: list[Record], field: str) -> set[str]:
    return {getattr(each, field).value for each in records if hasattr(each, field)}
