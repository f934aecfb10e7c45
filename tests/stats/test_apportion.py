"""Whole numbers in proportion to shares."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hpcretrain.stats.apportion import apportion


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.floats(0, 1e6)), st.integers(0, 1000))
def test_they_add_up_and_none_is_a_whole_point_off(parts: dict[str, float], total: int) -> None:
    found = apportion(parts, total)
    whole = sum(parts.values())
    assert sum(found.values()) == (total if whole > 0 else 0)
    if whole > 0:
        assert all(abs(found[name] - total * value / whole) < 1 + 1e-6 for name, value in parts.items())


def test_of_equal_remainders_the_first_name_gets_more() -> None:
    assert apportion({"b": 1.0, "a": 1.0}, 3) == {"b": 1, "a": 2}
