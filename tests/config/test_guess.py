"""What is guessed from summaries of columns, and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcretrain.config.features import FeatureFacts, guess_features
from hpcretrain.config.guess import ColumnSummary, TimeReading, find_target, guess_metrics, guess_name, guess_task
from hpcretrain.config.outlook import Stops
from hpcretrain.config.relation import Relation
from hpcretrain.config.timeguess import guess_time
from hpcretrain.config.types import ModelConfig
from hpcretrain.errors import InputError

START = datetime(2024, 1, 1, tzinfo=UTC)


def reading(**changes: Any) -> TimeReading:
    plain = {
        "time_format": None,
        "zone": None,
        "aware": False,
        "order": 1.0,
        "clock": True,
        "first": START,
        "last": START + timedelta(days=100),
        "middle": START + timedelta(days=50),
    }
    return TimeReading(**{**plain, **changes})


def numbers(name: str, **changes: Any) -> ColumnSummary:
    plain = {
        "rows": 1_000,
        "missing": 0,
        "numbers": 1_000,
        "texts": 0,
        "infinite": 0,
        "distinct": 900,
        "values": {"1.5": 1, "2.5": 1},
        "low": 1.5,
        "high": 99.5,
        "whole": False,
    }
    return ColumnSummary(name, **{**plain, **changes})


def texts(name: str, *values: str, **changes: Any) -> ColumnSummary:
    found = {value: 1_000 // len(values) for value in values}
    plain = {"numbers": 0, "texts": 1_000, "distinct": len(found), "values": found, "low": None, "high": None}
    return numbers(name, **{**plain, **changes})


def times(name: str, *readings: TimeReading, **changes: Any) -> ColumnSummary:
    return texts(name, "2024-01-01", **{"readings": readings or (reading(),), "distinct": 900, **changes})


def told(error: pytest.ExceptionInfo[InputError]) -> str:
    return str(error.value)


class TestTarget:
    def test_a_target_that_is_not_there_is_told_with_names_like_it(self) -> None:
        with pytest.raises(InputError) as caught:
            find_target("Latte", [numbers("late"), numbers("amount")])
        assert 'did you mean "late"?' in told(caught)
        assert '"late", "amount"' in told(caught)

    def test_a_name_like_no_other_is_told_with_all_columns(self) -> None:
        with pytest.raises(InputError, match='no column "zzz"; the table has: "late"'):
            find_target("zzz", [numbers("late")])

    def test_a_time_cannot_be_predicted(self) -> None:
        with pytest.raises(InputError, match="a time cannot be predicted"):
            find_target("time", [times("time")])

    @pytest.mark.parametrize(
        ("column", "task"),
        [
            (numbers("y", whole=True, distinct=2, values={"0": 700, "1": 300}, low=0, high=1), "binary"),
            (texts("y", "True", "False"), "binary"),
            (texts("y", "false", "TRUE", missing=10), "binary"),
            (numbers("y"), "regression"),
            (numbers("y", whole=True, distinct=3, values={"0": 3, "1": 3, "2": 994}), "regression"),
        ],
    )
    def test_the_task_is_told_by_the_values(self, column: ColumnSummary, task: str) -> None:
        assert guess_task(column, []).value == task

    @pytest.mark.parametrize(
        ("column", "words"),
        [
            (texts("y", "yes", "no"), 'two values, "yes" and "no", but two classes must be written 0 and 1'),
            (numbers("y", distinct=2, values={"1": 500, "2": 500}), "must be written 0 and 1"),
            (texts("y", "a", "b", "c", distinct=40), "is text in 1,000 of 1,000 rows, with 40 different values"),
            (numbers("y", numbers=990, texts=10, distinct=500), "is text in 10 of 1,000 rows"),
            (numbers("y", distinct=1, values={"7": 1_000}), 'only "7" in 1,000 rows; there is nothing to learn'),
            (numbers("y", distinct=0, values={}, numbers=0, missing=1_000), "holds nothing in 1,000 rows"),
            (texts("y", "true", "TRUE"), "one class only"),
            (numbers("y", infinite=3), "infinite in 3 rows"),
        ],
    )
    def test_a_target_that_cannot_be_predicted_is_refused_with_its_reason(
        self, column: ColumnSummary, words: str
    ) -> None:
        with pytest.raises(InputError) as caught:
            guess_task(column, [])
        assert words in told(caught)

    def test_few_whole_numbers_are_amounts_and_said_to_be(self) -> None:
        warnings: list[str] = []
        guess_task(numbers("stars", whole=True, distinct=5), warnings)
        assert "5 whole numbers only" in warnings[0]

    @pytest.mark.parametrize("task", ["binary", "regression"])
    def test_metrics_fit_the_task(self, task: str) -> None:
        primary, guards = guess_metrics(task)
        ModelConfig(name="m", task=task, target="y", primary_metric=primary.value, guard_metrics=guards.value)

    @settings(deadline=None)
    @given(st.text())
    def test_any_name_of_a_file_gives_a_name_of_a_model(self, stem: str) -> None:
        ModelConfig(name=guess_name(stem).value, task="binary", target="y")


class TestTime:
    def test_the_only_column_of_times_is_it(self) -> None:
        guess = guess_time([numbers("a"), times("when")], "y", [])
        assert guess.column.value == "when"
        assert "the only column that reads as times: all 1,000 rows that were looked at" in guess.column.why
        assert "increasing" in guess.column.why

    @pytest.mark.parametrize(
        ("better", "worse"),
        [
            (times("b"), times("a", reading(order=0.9))),
            (times("b"), times("a", reading(clock=False))),
            (times("time", reading(order=0.5)), times("a", reading(order=0.5))),
            (times("b"), times("a", reading(middle=START + timedelta(days=60)))),
            (times("b"), times("time", missing=1)),
        ],
        ids=["in order", "with a clock", "so named", "earlier", "never missing"],
    )
    def test_of_several_the_better_is_chosen_and_the_others_are_named(
        self, better: ColumnSummary, worse: ColumnSummary
    ) -> None:
        for columns in ([better, worse], [worse, better]):
            warnings: list[str] = []
            guess = guess_time(columns, "y", warnings)
            assert guess.column.value == better.name
            assert f'"{worse.name}"' in warnings[0]

    def test_the_order_of_day_and_month_is_the_one_that_keeps_rows_in_order(self) -> None:
        day, month = reading(time_format="%d/%m/%Y"), reading(time_format="%m/%d/%Y", order=0.6)
        for readings in ((day, month), (month, day)):
            guess = guess_time([times("t", *readings)], "y", [])
            assert guess.time_format is not None
            assert guess.time_format.value == "%d/%m/%Y"
            assert '"%m/%d/%Y", but by that only 60 %' in guess.time_format.why

    def test_day_and_month_that_nothing_tells_apart_are_refused(self) -> None:
        with pytest.raises(InputError, match=r'read as "%d/%m/%Y" or "%m/%d/%Y" alike'):
            guess_time([times("t", reading(time_format="%d/%m/%Y"), reading(time_format="%m/%d/%Y"))], "y", [])

    @pytest.mark.parametrize(
        ("changes", "zone", "words"),
        [
            ({"zone": "America/New_York", "aware": True}, "America/New_York", "the file says"),
            ({"aware": True}, "UTC", "carry their offsets"),
            ({}, "UTC", "carry no offset"),
        ],
    )
    def test_the_zone_is_the_one_that_the_file_says(self, changes: dict[str, Any], zone: str, words: str) -> None:
        guess = guess_time([times("t", reading(**changes))], "y", []).timezone
        assert guess.value == zone
        assert words in guess.why

    def test_without_times_it_is_told_what_there_is_and_what_was_tried(self) -> None:
        with pytest.raises(InputError) as caught:
            guess_time([numbers("a"), texts("b", "x"), numbers("y")], "y", [])
        text = told(caught)
        assert "Tried: ISO 8601" in text
        assert '"a" (numbers, such as "1.5", "2.5"); "b" (text, such as "x")' in text
        assert '"y"' not in text

    @pytest.mark.parametrize(
        ("unit", "words", "factor"),
        [
            ("s", "seconds", 1),
            ("ms", "milliseconds", 10**3),
            ("us", "microseconds", 10**6),
            ("ns", "nanoseconds", 10**9),
        ],
    )
    def test_numbers_that_look_like_seconds_since_1970_are_told_with_what_to_do(
        self, unit: str, words: str, factor: int
    ) -> None:
        column = numbers("ts", whole=True, low=1.7e9 * factor, high=1.8e9 * factor)
        with pytest.raises(InputError, match=rf'"ts" looks like {words} since 1970.*unit="{unit}"'):
            guess_time([column], "y", [])

    def test_parts_of_a_time_are_told(self) -> None:
        with pytest.raises(InputError, match='"year", "Month" look like parts of a time'):
            guess_time([numbers("year"), numbers("Month")], "y", [])

    def test_columns_that_nearly_are_times_are_told_with_their_bad_cells_instead_of_good_ones(self) -> None:
        columns = [numbers("a"), times("t", missing=7), texts("u", "x", trouble="u: row 9")]
        with pytest.raises(InputError) as caught:
            guess_time(columns, "y", [])
        assert '"t", "u" nearly are' in told(caught)
        assert "7 of 1,000 are missing" in told(caught)
        assert "u: row 9" in told(caught)
        assert "such as" not in told(caught)

    def test_a_column_that_nearly_is_the_time_is_told_where_another_is_chosen(self) -> None:
        warnings: list[str] = []
        guess_time([texts("u", "x", trouble="u: row 9"), times("t")], "y", warnings)
        assert warnings == ['data.time_column: "u" nearly reads as times too: u: row 9']


def facts(summary: ColumnSummary, **changes: Any) -> FeatureFacts:
    plain = {
        "numbers": summary.numbers // 5,
        "texts": summary.texts // 5,
        "infinite": 0,
        "distinct": summary.distinct,
        "stops": None,
        "follows_time": False,
        "relation": Relation(),
    }
    return FeatureFacts(summary, **{**plain, **changes})


def stops(share: float) -> Stops:
    """An outage in some of twenty batches."""
    some = round(20 * share)
    return Stops("are missing", "missing_slack 5 %", some, 20, share, START, START + timedelta(days=7 * (some - 1)))


GOOD = facts(numbers("good"))


class TestFeatures:
    @pytest.mark.parametrize(
        ("fact", "words"),
        [
            (facts(numbers("x", numbers=0, missing=1_000, distinct=0, values={})), "it is empty"),
            (facts(numbers("x", distinct=1, values={"7": 1_000})), 'it is "7" in every row'),
            (facts(numbers("x"), numbers=0), "it is empty before 2024-03-01"),
            (facts(numbers("x"), distinct=1), "it has one value before 2024-03-01"),
            (facts(times("x")), "it holds times"),
            (facts(texts("x", "[1]", type_name="list<int64>")), "list<int64>, which is neither number nor text"),
            (facts(numbers("x"), infinite=2), "infinite in 2 rows"),
            (facts(numbers("x"), texts=5), "5 of 205 cells are text among numbers"),
            (facts(numbers("x"), follows_time=True), "only grows, or only falls, with time"),
            (facts(numbers("customer_id", whole=True)), "looks like an identifier"),
            (facts(texts("x", "a", "b", distinct=950)), "950 different texts in 1,000 rows"),
            (facts(numbers("x"), stops=stops(0.55)), "would stop 11 of 20 batches, from 2024-01-01 to 2024-03-11"),
            (facts(numbers("x"), relation=Relation("it is the target")), "GIVES THE TARGET AWAY: it is the target"),
        ],
    )
    def test_a_column_that_cannot_help_is_left_out_with_its_reason(self, fact: FeatureFacts, words: str) -> None:
        guess = guess_features([fact, GOOD], "2024-03-01", [])
        assert guess.features.value == ("good",)
        assert words in guess.left_out[0].why
        assert words in guess.features.after[0]

    @pytest.mark.parametrize(
        "fact",
        [
            facts(numbers("x", missing=900, numbers=100)),
            facts(texts("x", "a", "b")),
            facts(numbers("x"), stops=stops(0.5)),
            facts(numbers("paid", whole=True)),
            facts(numbers("customer_id", whole=True, distinct=30)),
            facts(numbers("price_index")),
            facts(numbers("x"), relation=Relation()),
        ],
    )
    def test_a_column_that_may_help_is_kept(self, fact: FeatureFacts) -> None:
        assert guess_features([fact], "2024-03-01", []).features.value == (fact.summary.name,)

    def test_few_numbers_with_text_among_them_are_declared_a_category(self) -> None:
        guess = guess_features([facts(numbers("zone", distinct=8), texts=5), GOOD], "2024-03-01", [])
        assert guess.categorical is not None
        assert guess.categorical.value == ("zone",)

    def test_leaks_and_what_looks_like_one_are_told_aloud(self) -> None:
        warnings: list[str] = []
        leak, strong = (
            facts(numbers("l"), relation=Relation("a copy")),
            facts(numbers("s"), relation=Relation(nearly=True)),
        )
        guess = guess_features([leak, strong, GOOD], "2024-03-01", warnings)
        assert guess.features.value == ("s", "good")
        assert guess.left_out[0].leak
        assert '"l" was left out: it GIVES THE TARGET AWAY: a copy' in warnings[0]
        assert '"s" alone nearly tells the target' in warnings[1]

    @pytest.mark.parametrize(("share", "words"), [(0.1, "was kept, and"), (0.9, "was left out:")])
    def test_what_the_data_gate_would_do_is_told_aloud(self, share: float, words: str) -> None:
        warnings: list[str] = []
        guess = guess_features([facts(numbers("x"), stops=stops(share)), GOOD], "2024-03-01", warnings)
        assert f'model.features: "x" {words} the data gate would stop {20 * share:.0f} of 20 batches' in warnings[0]
        assert "since cells are missing (missing_slack 5 % of the policy)" in warnings[0]
        assert len(warnings) == 1
        if share < 0.5:
            assert guess.features.notes["x"].endswith("; stops 2 of 20 batches")

    def test_columns_that_fail_together_are_told_in_one_line(self) -> None:
        warnings: list[str] = []
        guess_features([facts(numbers(name), stops=stops(0.1)) for name in "ab"], "2024-03-01", warnings)
        assert len(warnings) == 1
        assert '"a", "b" were kept' in warnings[0]

    def test_a_table_without_another_column_is_refused_with_that(self) -> None:
        with pytest.raises(InputError, match=r"besides target and time; there is no other$"):
            guess_features([], "2024-03-01", [])

    def test_a_table_without_a_usable_column_is_refused_with_every_reason(self) -> None:
        with pytest.raises(InputError, match=r'no column is left to learn from.*"x": it is "7" in every row'):
            guess_features([facts(numbers("x", distinct=1, values={"7": 1_000}))], "2024-03-01", [])
