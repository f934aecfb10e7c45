"""When Slurm is asked: soon where there is news, seldom where there is none, ever more patiently when it is down."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hpcretrain.policy.poll import AFTER_RING_S, SHORTEST_S, wait_s


def calls_in(seconds: float) -> int:
    """Queries while one job is awaited that stays silent."""
    now, calls = 0.0, 0
    while now < seconds:
        calls += 1
        now += wait_s(every_s=60, awaited=True, rung=False, quiet_s=now, failures=0)
    return calls


def test_an_hour_of_waiting_for_a_silent_job_costs_fewer_than_eighty_calls() -> None:
    assert 60 < calls_in(3600) < 80


def test_nothing_awaited_means_one_call_a_minute() -> None:
    assert wait_s(every_s=60, awaited=False, rung=False, quiet_s=0, failures=0) == 60


def test_a_ring_is_answered_at_once() -> None:
    assert wait_s(every_s=60, awaited=False, rung=True, quiet_s=1e6, failures=0) == AFTER_RING_S


def test_an_outage_is_asked_about_ever_more_patiently() -> None:
    waits = [wait_s(every_s=60, awaited=True, rung=True, quiet_s=0, failures=count) for count in range(1, 12)]
    assert waits[0] == SHORTEST_S
    assert waits == sorted(waits)
    assert waits[-1] == 60


@given(st.booleans(), st.floats(0, 1e9), st.integers(0, 10_000), st.floats(1, 3600))
def test_no_wait_is_longer_than_the_policy_of_the_site(
    awaited: bool, quiet: float, failures: int, every: float
) -> None:
    assert 0 < wait_s(every_s=every, awaited=awaited, rung=False, quiet_s=quiet, failures=failures) <= every
