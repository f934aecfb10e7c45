"""Inference is out of reach: shown with names and numbers, or not shown at all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hpcretrain.policy.reach import reachable, untouched
from hpcretrain.records import Outcome

nodes = st.frozensets(st.sampled_from([f"n{number}" for number in range(6)]), max_size=4)


def test_disjoint_nodes_pass_with_their_numbers() -> None:
    found = reachable({"partition train": {"t1", "t2"}}, {"i1"})
    assert found.outcome is Outcome.PASS
    assert "2 nodes of partition train" in found.reason


def test_a_shared_node_fails_and_is_named() -> None:
    found = reachable({"partition train": {"t1", "i1"}}, {"i1"})
    assert (found.outcome, found.observed, found.limit) == (Outcome.FAIL, 1, 0)
    assert "i1" in found.reason


def test_a_life_of_which_slurm_does_not_tell_proves_nothing() -> None:
    found = untouched({"attempt 1.0": {"t1"}, "attempt 1.1": None}, {"i1"})
    assert found.outcome is Outcome.INSUFFICIENT
    assert "attempt 1.1" in found.reason


@given(st.dictionaries(st.sampled_from("abc"), nodes, max_size=3), nodes)
def test_only_known_and_disjoint_nodes_pass(places: dict[str, frozenset[str]], serving: frozenset[str]) -> None:
    clear = (
        bool(serving) and bool(places) and all(places.values()) and not any(each & serving for each in places.values())
    )
    assert (reachable(places, serving).outcome is Outcome.PASS) == clear
    assert (untouched(places, serving).outcome is Outcome.PASS) == clear
