"""The dating of a rise against river 0.26.1 and a textbook.

recorded/page_hinkley.json, made by recorded/record.py with `PageHinkley(min_instances=1, alpha=1, mode="up")`: without
river's own forgetting, that is, which the published test does not have.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hpcretrain.stats.detect import page_hinkley

RECORDED = json.loads((Path(__file__).parent / "recorded" / "page_hinkley.json").read_text(encoding="utf-8"))

# Montgomery, Introduction to Statistical Quality Control, 7th edition, example 9.1: 20 draws of mean 10 and 10 of mean
# 11, with K = 0.5 and H = 5, and the upper sums of table 9.2 for periods 1 to 29. The sum exceeds H in period 29, and
# has been above 0 for 7 periods: the shift lies between periods 22 and 23.
CHARTED = [
    *(9.45, 7.99, 9.29, 11.66, 12.16, 10.18, 8.04, 11.46, 9.20, 10.34, 9.03, 11.47, 10.51, 9.40, 10.08),
    *(9.37, 10.62, 10.31, 8.52, 10.84, 10.90, 9.33, 12.29, 11.50, 10.60, 11.08, 10.38, 11.62, 11.31, 10.52),
]
UPPER_SUMS = [
    *(0.0, 0.0, 0.0, 1.16, 2.82, 2.50, 0.04, 1.00, 0.0, 0.0, 0.0, 0.97, 0.98, 0.0, 0.0),
    *(0.0, 0.12, 0.0, 0.0, 0.34, 0.74, 0.0, 1.79, 2.79, 2.89, 3.47, 3.35, 4.47, 5.28),
]


@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda case: f"{case['name']}, {case['slack']}")
def test_a_rise_is_seen_at_the_values_at_which_river_sees_one(case: dict[str, Any]) -> None:
    values, start, detected = case["values"], 0, []
    for end in range(1, len(values) + 1):
        if page_hinkley(values[start:end], slack=case["slack"], threshold=case["threshold"]) is not None:
            # river begins anew after what it saw.
            detected.append(end - 1)
            start = end
    assert detected == case["detected"]


def test_a_textbook_shift_is_seen_in_its_period_and_dated_as_there() -> None:
    before = page_hinkley(CHARTED[:28], slack=0.5, threshold=5, mean=10)
    seen = page_hinkley(CHARTED[:29], slack=0.5, threshold=5, mean=10)
    assert before is None
    assert seen == 23 - 1


def test_the_sums_are_those_of_the_textbook_to_the_last_digit() -> None:
    for period, upper in enumerate(UPPER_SUMS, start=1):
        values = CHARTED[:period]
        assert page_hinkley(values, slack=0.5, threshold=upper + 0.0051, mean=10) is None
        assert upper == 0 or page_hinkley(values, slack=0.5, threshold=upper - 0.0051, mean=10) is not None
