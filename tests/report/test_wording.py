from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from hpcretrain.records import Family, Outcome
from hpcretrain.report import wording
from hpcretrain.report.wording import MINUS
from hpcretrain.stats.metrics import METRICS

NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.031234, "0.031"),
        (12.3456, "12.35"),
        (123_456.7, "123,457"),
        (1234, "1,234"),
        (-0.00004, f"{MINUS}4.0e{MINUS}05"),
        (-0.5, f"{MINUS}0.500"),
        (-0.0, "0"),
        (0.0, "0"),
        (None, ""),
        ("int64", "int64"),
        (float("inf"), "inf"),
    ],
)
def test_numbers_have_the_digits_that_say_something(number: object, text: str) -> None:
    assert wording.digits(number) == text  # type: ignore[arg-type]


def test_differences_have_a_sign_unless_there_is_none_to_see() -> None:
    assert wording.difference("auc", 0.0312) == "+0.031"
    assert wording.difference("auc", -0.0312) == f"{MINUS}0.031"
    assert wording.difference("auc", -0.0002) == "0.000"
    assert wording.difference("rmse", -1234.5) == f"{MINUS}1,234"


@pytest.mark.parametrize(("number", "text"), [(0.123, "0.12 s"), (13.52, "13.5 s"), (500, "8.3 min"), (9000, "2.5 h")])
def test_lengths_of_time_are_in_the_unit_that_suits_them(number: float, text: str) -> None:
    assert wording.seconds(number) == text


def test_a_stretch_of_days_is_named_by_its_last_day() -> None:
    march, may = datetime(2024, 3, 1, 5, tzinfo=UTC), datetime(2024, 5, 1, 4, tzinfo=UTC)
    assert wording.span(march, may, NEW_YORK) == "1 Mar 2024 to 30 Apr 2024"
    assert wording.span(march, datetime(2024, 3, 2, 5, tzinfo=UTC), NEW_YORK) == "1 Mar 2024"
    assert wording.span(march, datetime(2024, 3, 2, 17, tzinfo=UTC), NEW_YORK) == "1 Mar 2024 to 2 Mar 2024 12:00"


def test_a_period_that_is_no_month_of_the_calendar_is_named_by_its_first_day() -> None:
    assert wording.period(datetime(2024, 3, 1, 5, tzinfo=UTC), "month", NEW_YORK) == "March 2024"
    assert wording.period(datetime(2024, 3, 15, 5, tzinfo=UTC), "month", NEW_YORK) == "15 Mar 2024"


def test_everything_that_can_occur_has_a_name() -> None:
    assert set(wording.OUTCOMES) == set(Outcome)
    assert set(wording.FAMILIES) == set(Family)
    assert set(wording.MEANINGS) == set(METRICS)
