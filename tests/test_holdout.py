from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from whole_cycle import whole_cycle

from hpcretrain.records import Finding, Outcome, Reading, Verdict
from hpcretrain.report.holdout import gain, interval, meet, reading_numbers, verdict_numbers
from hpcretrain.report.pictures import draw
from hpcretrain.stats.metrics import measure

RANDOM = np.random.default_rng(1)
LABELS = (RANDOM.random(2_000) < 0.3).astype(float)
GOOD = np.clip(0.3 + 0.2 * LABELS + RANDOM.normal(0, 0.15, 2_000), 0.01, 0.99)
POOR = np.clip(GOOD + RANDOM.normal(0, 0.2, 2_000), 0.01, 0.99)


def test_an_interval_is_196_standard_errors_wide_and_ends_where_the_metric_does() -> None:
    assert interval(Reading("auc", 0.7, 0.01, 9)) == pytest.approx((0.6804004, 0.7195996))
    assert interval(Reading("auc", 0.999, 0.01, 9))[1] == 1.0
    assert interval(Reading("log_loss", 0.001, 0.01, 9))[0] == 0.0
    assert interval(Reading("log_loss", 1.5, 0.1, 9))[1] > 1.5
    assert interval(Reading("bias", -0.1, 0.01, 9))[0] < -0.1


def test_a_gain_lies_in_its_interval_and_turns_round_with_the_models() -> None:
    for metric in ("auc", "log_loss", "accuracy"):
        forth, back = gain(metric, LABELS, POOR, GOOD), gain(metric, LABELS, GOOD, POOR)
        assert forth is not None
        assert back is not None
        assert 0 < forth.lower < forth.gain < forth.upper
        assert (back.gain, back.lower, back.upper) == pytest.approx((-forth.gain, -forth.upper, -forth.lower))
        assert forth.candidate == measure(metric, LABELS, GOOD).value


def test_what_is_not_defined_has_no_gain() -> None:
    assert gain("auc", np.zeros(50), POOR[:50], GOOD[:50]) is None
    assert gain("log_loss", LABELS, POOR, np.full(len(LABELS), np.nan)) is None
    assert meet(LABELS, POOR, np.full(len(LABELS), np.nan), "binary", ("auc", "log_loss")).gains == ()


def test_a_verdict_becomes_numbers_with_intervals_and_the_p_that_the_gate_saw() -> None:
    finding = Finding(check="superior:auc", outcome=Outcome.PASS, reason="", observed=0.01, limit=0.03)
    given = next(record for record in whole_cycle() if isinstance(record, Verdict))
    verdict = replace(given, findings=(finding,), readings=(Reading("auc", 0.7, 0.01, 2_000),))
    numbers = verdict_numbers(verdict, meet(LABELS, POOR, GOOD, "binary", ("auc",)))
    assert set(numbers) == {
        *("auc", "auc_lower", "auc_upper", "holdout_rows", "auc_champion"),
        *("auc_gain", "auc_gain_lower", "auc_gain_upper", "auc_p", "auc_alpha"),
    }
    assert (numbers["auc_p"], numbers["auc_alpha"], numbers["holdout_rows"]) == (0.01, 0.03, 2_000)
    assert numbers["auc_lower"] == 0.6804
    assert reading_numbers(()) == {}


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_picture_is_drawn_for_either_task_and_for_models_without_any_spread(task: str, tmp_path: Path) -> None:
    metrics = ("auc", "log_loss") if task == "binary" else ("rmse", "mae")
    labels = LABELS if task == "binary" else 50 + 10 * GOOD
    for champion, candidate in ((POOR, GOOD), (np.full(len(labels), 0.3), GOOD), (np.full(len(labels), 0.3),) * 2):
        meeting = meet(labels, champion, candidate, task, metrics)
        path = tmp_path / "picture.png"
        draw(meeting, "title", path)
        assert path.read_bytes().startswith(b"\x89PNG")
        path.unlink()
