from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from averages import two_cycles
from whole_cycle import whole_cycle

from hpcretrain.history import History
from hpcretrain.policy.types import WatchRules
from hpcretrain.policy.watch import Sight, look
from hpcretrain.records import Candidate, RetrainRequest, Watch
from hpcretrain.report.explain import ancestors, explain, explain_text, headline

HISTORY = History.fold(two_cycles())
REFIT = HISTORY.releases[-1].candidate


def test_reasons_of_an_average_stop_at_its_own_cycle() -> None:
    own = HISTORY.cycles[1]
    for record in (HISTORY.known[REFIT], HISTORY.releases[-1]):
        led_to = ancestors(HISTORY, record)
        assert [each for each in led_to if isinstance(each, RetrainRequest)] == [own.request]
        candidates = {each.id for each in led_to if isinstance(each, Candidate)}
        assert candidates | {REFIT} == set(own.candidates)


def test_what_came_of_a_fit_stops_at_its_own_cycle() -> None:
    fit = next(each for each in HISTORY.cycles[0].candidates.values() if each.model_digest == "fit")
    last = HISTORY.cycles[0].review
    assert last is not None
    assert max(each["at"] for each in explain(HISTORY, fit.id)["then"]) == explain(HISTORY, last.id)["record"]["at"]


def test_an_average_and_its_release_name_the_members_under_one_line() -> None:
    for identifier in (REFIT, HISTORY.releases[-1].id):
        lines = explain_text(HISTORY, identifier).splitlines()
        place = lines.index("average of 2 fits, the fresh one first:")
        told = explain(HISTORY, identifier)["members"]
        assert [each["model_digest"] for each in told] == ["fit-again", "fit"]
        for line, member in zip(lines[place + 1 : place + 3], told, strict=True):
            assert line.split()[0] == member["candidate"]
            assert "10 rows  2024-01-01 00:00 to 2024-01-02 00:00 UTC  digest d" in line
    assert "average" not in explain_text(HISTORY, HISTORY.releases[0].id)


def watched(released: float, previous: float, *, looks: int = 1) -> str:
    """The headline of a first look at models that rank so well, the release with the better calibration."""
    random = np.random.default_rng(3)
    labels = (random.random(2_000) < 0.5).astype(float)
    noise = random.normal(size=2_000)
    scores = [1 / (1 + np.exp(-(skill * (2 * labels - 1) + noise))) for skill in (released, previous)]
    sight = Sight(labels, scores[0], 0.99 * scores[1] ** 9, "auc", ("log_loss",), 1)
    outcome, findings = look(sight, WatchRules(alpha=0.05, min_rows=100, looks=looks))
    watch = next(record for record in whole_cycle() if isinstance(record, Watch))
    return headline(replace(watch, outcome=outcome, findings=findings))


@pytest.mark.parametrize(
    ("looks", "start"), [(1, "look 1, pass: kept, though worse"), (2, "look 1, wait: still watched, though worse")]
)
def test_a_release_that_a_guard_metric_defends_says_so(looks: int, start: str) -> None:
    told = watched(0.2, 0.8, looks=looks)
    assert told.startswith(f"{start} on auc beyond chance, since it is better on log_loss; auc 0.")


def test_a_release_that_is_no_worse_says_so_whatever_its_guard_metrics_do() -> None:
    assert watched(0.8, 0.2).startswith("look 1, pass: not worse on auc beyond chance; auc 0.")
