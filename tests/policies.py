"""Any rules of scoring that load, for properties that must hold under all of them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from hpcretrain.policy.types import Score
from hpcretrain.records import Family

_SHARES = st.floats(0, 1)
_WEIGHTS = st.one_of(st.sampled_from([0.0, 1.0]), _SHARES)


@st.composite
def groups(draw: st.DrawFn) -> dict[str, Any]:
    """Families of a policy: each kind of signal in one of them, some of them taken together."""
    families = list(Family)
    names = [family.value for family in families]
    homes = {family: draw(st.sampled_from([family.value, *names[:3]])) for family in families}
    made: dict[str, Any] = {}
    for name in sorted(set(homes.values())):
        made[name] = {
            "of": [family.value for family in families if homes[family] == name],
            "weight": draw(_WEIGHTS),
            "scale": draw(st.floats(1e-6, 1e6)),
            "z": draw(st.floats(0, 3)),
            "min_n": draw(st.sampled_from([0, 100])),
            "cure": draw(st.sampled_from(["retrain", "learn", "mend_data", "investigate"])),
            "reason": "because",
        }
    first = next(iter(made.values()))
    first.update(cure="retrain", weight=max(first["weight"], 0.1))
    return made


@st.composite
def scores(draw: st.DrawFn) -> Score:
    """Rules of scoring."""
    threshold = draw(st.integers(1, 1000))
    business = None
    if draw(st.booleans()):
        budget = draw(st.one_of(st.none(), st.floats(1, 10_000)))
        pressure = draw(st.floats(0, 5)) if budget is not None else 0.0
        business = {"impact": draw(_SHARES), "error_budget_hours": budget, "most_pressure": pressure, "reason": "r"}
    return Score.model_validate(
        {
            "threshold": threshold,
            "withdraw_below": draw(st.integers(0, threshold)),
            "sustain_slots": draw(st.integers(1, 4)),
            "act_from": draw(st.integers(0, 1000)),
            "abrupt": draw(st.floats(0.01, 100)),
            "broken_slots": draw(st.integers(1, 5)),
            "abrupt_slots": draw(st.integers(0, 3)),
            "roll_back_slots": draw(st.integers(0, 3)),
            "half_life_batches": draw(st.floats(0.02, 1000)),
            "slot_hours": draw(st.floats(0.001, 1_000_000)),
            "memory_slots": draw(st.integers(1, 50)),
            "min_rows": 500,
            "max_rows": 20_000,
            "min_class_rows": 25,
            "families": draw(groups()),
            "business": business,
        }
    )
