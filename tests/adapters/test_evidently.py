from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcretrain.adapters.evidently import Drift, Sizes, measures, parse
from hpcretrain.errors import InputError
from hpcretrain.evidence import Family

RECORDED = Path(__file__).with_name("signals_recorded")
SIZES = Sizes(1500, 2000, 30)
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def recorded(name: str, sizes: Sizes = SIZES) -> dict[str, Drift]:
    return {drift.column: drift for drift in parse((RECORDED / f"evidently-{name}.json").read_text(), sizes)}


@pytest.mark.parametrize("version", ["0.4", "0.6", "0.7"])
def test_all_forms_tell_of_the_same_drift(version: str) -> None:
    found = recorded(f"{version}-preset")
    assert {name: (drift.method, round(drift.value or 0, 6)) for name, drift in found.items()} == {
        "carrier": ("jensenshannon", 0.164952),
        "delay": ("wasserstein", 0.55406),
        "distance": ("wasserstein", 0.025735),
        "prediction": ("wasserstein", 0.23953),
    }


@pytest.mark.parametrize("name", ["0.7-small", "0.4-mixed", "0.7-mixed"])
def test_a_p_value_is_no_effect_and_says_so(name: str) -> None:
    drift = recorded(name)["distance"]
    assert (drift.value, drift.lower_bound) == (None, None)
    assert "is a p-value" in drift.reason


@pytest.mark.parametrize("name", ["0.7-preset", "0.7-psi", "0.7-mixed"])
def test_a_column_that_did_not_move_has_no_lower_bound_above_nothing(name: str) -> None:
    found = recorded(name)
    assert (found["distance"].lower_bound or 0.0) == 0.0
    for moved in ("delay", "carrier"):
        drift = found[moved]
        assert drift.value is not None
        assert drift.lower_bound is not None
        assert 0 < drift.lower_bound < drift.value


def test_without_the_number_of_rows_nothing_is_sure() -> None:
    found = recorded("0.7-preset", Sizes(None, 2000, 30))
    assert {drift.lower_bound for drift in found.values()} == {None}
    (first, *_) = measures(found.values(), "flights", (), None, NOW)
    assert (first.effect, first.lower_bound) == (None, None)
    assert "rows and reference_rows" in first.reason


def test_fewer_rows_lower_the_bound() -> None:
    few, many = (recorded("0.7-psi", Sizes(rows, rows, 30))["delay"].lower_bound for rows in (1000, 10**6))
    assert few is not None
    assert many is not None
    assert few < many == pytest.approx(0.2926, abs=1e-3)


def test_predictions_are_a_family_of_their_own() -> None:
    found = measures(recorded("0.7-psi").values(), "flights", ["prediction"], 1500, NOW)
    assert {each.name: each.family for each in found}["prediction:psi"] is Family.PREDICTION_SHIFT
    assert {each.family for each in found if each.name != "prediction:psi"} == {Family.INPUT_DRIFT}


def test_a_distance_that_is_not_finite_is_evidence() -> None:
    text = (RECORDED / "evidently-0.7-psi.json").read_text()
    content = json.loads(text)
    content["metrics"][1]["value"] = math.nan
    drift = {each.column: each for each in parse(json.dumps(content), SIZES)}["delay"]
    assert drift.value is not None
    assert math.isnan(drift.value)
    assert "look into it" in drift.reason


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"metrics": 1}', '{"metrics": []}', '{"metrics": [{"config": []}]}'])
def test_what_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse(text, SIZES)


def test_a_metric_that_cannot_be_read_is_named_with_its_place() -> None:
    content = json.loads((RECORDED / "evidently-0.7-psi.json").read_text())
    content["metrics"][1]["value"] = -1
    with pytest.raises(InputError, match="metric 2 of the report cannot be read: psi of delay is -1"):
        parse(json.dumps(content), SIZES)
    del content["metrics"][1]["value"]
    with pytest.raises(InputError, match="metric 2 of the report has no 'value'"):
        parse(json.dumps(content), SIZES)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["metrics", "config", "value", "type", "column", "metric", "result"]), inner)
    ),
    max_leaves=12,
)


@given(JSON.map(json.dumps) | st.text(max_size=50))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse(text, SIZES)
