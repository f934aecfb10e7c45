from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hpcretrain.report.headline import figures, period_noun, sentence
from hpcretrain.report.wording import MINUS


def outcome(
    served: float | None,
    frozen: float | None,
    ungated: float | None,
    *,
    primary: str = "auc",
    releases: int = 1,
    retrains: int = 2,
    cpu: tuple[float, float] = (10.0, 13.0),
) -> dict[str, Any]:
    """A result over two months, alike in both."""
    arms = {"served": served, "frozen": frozen, "ungated": ungated}
    months = [("2024-01-01", "2024-02-01"), ("2024-02-01", "2024-03-01")]
    return {
        "primary_metric": primary,
        "periods": [
            {"start": f"{start}T00:00:00Z", "end": f"{end}T00:00:00Z", "rows": 10}
            | {arm: {primary: value} for arm, value in arms.items()}
            for start, end in months
        ],
        "summary": arms
        | {"retrains": retrains, "releases": releases, "rollbacks": 0}
        | dict(zip(("train_cpu_s", "ungated_train_cpu_s"), cpu, strict=True)),
    }


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (
            outcome(0.709, 0.677, 0.713),
            "Over 2 months, hpcretrain kept AUC at 0.709 on average; never retraining would have given 0.677, and "
            "retraining every month without checks 0.713. hpcretrain took 23 % less training CPU than that.",
        ),
        (
            outcome(0.65, 0.677, 0.713, cpu=(10.0, 10.2)),
            "Over 2 months, hpcretrain served worse than never retraining: AUC was 0.650 on average instead of 0.677; "
            "retraining every month without checks would have given 0.713, for about the same training CPU.",
        ),
        (
            outcome(12.0, 20.0, 9.0, primary="rmse", cpu=(10.0, 5.0)),
            "Over 2 months, hpcretrain kept RMSE at 12 on average; never retraining would have given 20, and "
            "retraining every month without checks 9. hpcretrain took 2.0 times as much training CPU as that.",
        ),
        (
            outcome(20.0, 12.0, None, primary="rmse"),
            "Over 2 months, hpcretrain served worse than never retraining: RMSE was 20 on average instead of 12.",
        ),
        (
            outcome(0.7071, 0.7069, 0.713),
            "Over 2 months, hpcretrain did no better than never retraining: AUC was 0.707 on average either way; "
            "retraining every month without checks would have given 0.713. hpcretrain took 23 % less training CPU "
            "than that.",
        ),
        (
            outcome(0.7, 0.7, 0.71, releases=0, retrains=0, cpu=(0.0, 3.0)),
            "Over 2 months, nothing was retrained, and the first model served throughout: AUC was 0.700 on average; "
            "retraining every month without checks would have given 0.710, for 3.0 s of training CPU.",
        ),
        (
            outcome(0.7, 0.7, 0.71, releases=0, retrains=3),
            "Over 2 months, none of 3 retrainings was good enough to be released, and the first model served "
            "throughout: AUC was 0.700 on average; retraining every month without checks would have given 0.710. "
            "hpcretrain took 23 % less training CPU than that.",
        ),
        (
            outcome(None, None, None),
            "AUC is not defined in any month, so nothing can be said about what was served.",
        ),
    ],
)
def test_the_sentence_says_what_came_of_it_whichever_way_it_went(result: dict[str, Any], told: str) -> None:
    assert sentence(result) == told


def test_the_figures_compare_with_both_arms_period_by_period() -> None:
    result = outcome(0.709, 0.677, 0.713)
    result["periods"][1]["ungated"] = {"auc": 0.709}
    frozen, ungated, retrainings, cpu, bad = figures(result, 43, 1)
    assert (frozen.value, frozen.note) == ("+0.032 AUC", "2 months better")
    assert (ungated.value, ungated.note) == (f"{MINUS}0.004 AUC", "1 month equal, 1 worse")
    assert (retrainings.value, retrainings.note) == ("2", "1 released, 1 stopped, 0 rolled back")
    assert (cpu.value, cpu.note) == ("10.0 s", "monthly retraining: 13.0 s")
    assert (bad.value, bad.note) == ("1", "of 43; never trained on")


def test_a_metric_that_is_not_defined_is_never_a_win() -> None:
    frozen, ungated, *_ = figures(outcome(None, 0.7, 0.7), 1, 0)
    assert frozen.value == ungated.value == "not defined"
    result = outcome(0.7, 0.6, 0.6)
    result["periods"][0]["served"] = {"auc": None}
    assert figures(result, 1, 0)[0].note == "1 month better"


@pytest.mark.parametrize(
    ("days", "noun"), [((31, 28, 31), "month"), ((7, 7), "week"), ((1,), "day"), ((5,), "period"), ((), "period")]
)
def test_periods_are_called_what_they_are(days: tuple[int, ...], noun: str) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    periods = [{"start": start.isoformat(), "end": (start + timedelta(days=length)).isoformat()} for length in days]
    assert period_noun(periods) == noun
