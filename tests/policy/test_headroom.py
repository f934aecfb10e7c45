"""Whether the site bears another training; what is not known is not enough."""

from __future__ import annotations

from typing import Any

import pytest
from admissions import HOUR, NOW

from hpcretrain.evidence import Finding, Outcome
from hpcretrain.policy.headroom import Serving, site
from hpcretrain.policy.types import Headroom

P95 = Headroom(signal="p95_ms", most=20.0, fresh_hours=2.0, reason="a test")
HALF = Headroom(load=0.5, reason="a test")


def load(used: int | None, outcome: Outcome = Outcome.PASS) -> Finding:
    return Finding(check="load", outcome=outcome, reason="slurmctld is down", observed=used, limit=8)


def outcomes(findings: tuple[Finding, ...]) -> dict[str, Outcome]:
    return {each.check: each.outcome for each in findings}


@pytest.mark.parametrize(
    ("serving", "outcome"),
    [
        (Serving("p95_ms", NOW - HOUR, 5.0), Outcome.PASS),
        (Serving("p95_ms", NOW - HOUR, 25.0), Outcome.WAIT),
        (Serving("p95_ms", NOW - 3 * HOUR, 5.0), Outcome.INSUFFICIENT),
        (Serving("p95_ms", NOW - HOUR, None), Outcome.INSUFFICIENT),
        (Serving("p95_ms", NOW - HOUR, float("nan")), Outcome.INSUFFICIENT),
        (None, Outcome.INSUFFICIENT),
    ],
)
def test_serving_must_be_heard_lately_and_be_well(serving: Serving | None, outcome: Outcome) -> None:
    assert outcomes(site((load(0),), serving, P95, NOW))["headroom:serving"] is outcome


@pytest.mark.parametrize(("used", "outcome"), [(4, Outcome.PASS), (5, Outcome.WAIT), (None, Outcome.INSUFFICIENT)])
def test_the_cluster_must_have_room(used: int | None, outcome: Outcome) -> None:
    found = outcomes(site((load(used),), None, HALF, NOW))
    assert found == {"cluster": Outcome.PASS, "headroom:load": outcome}


@pytest.mark.parametrize("outlook", [(), (load(None, Outcome.INSUFFICIENT),)])
def test_a_controller_that_does_not_answer_is_waited_for(outlook: Any) -> None:
    found = site(outlook, None, None, NOW)
    assert outcomes(found) == {"cluster": Outcome.WAIT}
    assert not outlook or "slurmctld is down" in found[0].reason
