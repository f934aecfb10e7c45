from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from averages import two_cycles
from hypothesis import given, settings
from hypothesis import strategies as st
from whole_cycle import AT, DAY, whole_cycle

from hpcretrain.errors import InputError
from hpcretrain.history import History
from hpcretrain.report.served import all_served, all_served_text, moment, served_at, served_text

HISTORY = History.fold(whole_cycle())
FIRST, PROMOTED, BACK = HISTORY.releases
IN_MLFLOW = {"serves": PROMOTED.candidate, "at": "2030-01-01T00:00:01+00:00", "version": "2", "run": "r2"}
AVERAGED_AGAIN = History.fold(two_cycles())
NOTES = [
    {**IN_MLFLOW, "event": "registered"},
    {**IN_MLFLOW, "event": "alias_moved", "alias": "champion", "moved_at": "2024-01-08T00:00:00Z"},
    {"event": "release_confirmed", "serves": PROMOTED.id, "at": "2030-01-01T00:00:01+00:00"},
]


@pytest.mark.parametrize(
    ("days", "release", "until"),
    [
        (0.0, FIRST, 7),
        (6.999, FIRST, 7),
        (7.0, PROMOTED, 14),
        (13.9, PROMOTED, 14),
        (14.0, BACK, None),
        (99, BACK, None),
    ],
)
def test_a_model_serves_from_its_release_until_the_next(days: float, release: object, until: int | None) -> None:
    answer = served_at(HISTORY, NOTES, AT + timedelta(days=days))
    assert answer["release"] == release.id  # type: ignore[attr-defined]
    assert answer["until"] == (None if until is None else f"2024-01-{1 + until:02}T00:00:00Z")


@settings(deadline=None)
@given(st.floats(-3, 20))
def test_what_served_at_a_time_began_by_then_and_did_not_end(days: float) -> None:
    at = AT + timedelta(days=days)
    answer = served_at(HISTORY, [], at)
    if at < AT:
        assert answer["release"] is None
        return
    assert datetime.fromisoformat(answer["from"]) <= at
    assert answer["until"] is None or at < datetime.fromisoformat(answer["until"])


def test_a_promotion_says_why_and_where_it_is_in_mlflow() -> None:
    answer = served_at(HISTORY, NOTES, AT + 8 * DAY)
    assert (answer["version"], answer["run"]) == ("2", "r2")
    assert (answer["kind"], answer["model_digest"]) == ("promotion", "refit")
    assert answer["verdict"] == HISTORY.verdicts[1].id
    assert answer["request"] == HISTORY.cycles[0].request.id
    assert answer["confirmed_at"] == "2030-01-01T00:00:01Z"
    text = served_text(answer)
    for words in (answer["release"], "version 2 of m, run r2", answer["request"], "until 2024-01-15 00:00 UTC"):
        assert words in text


def test_reasons_are_those_of_the_releases_own_cycle_in_order() -> None:
    answer = served_at(AVERAGED_AGAIN, NOTES, AT + 22 * DAY)
    (_, again), verdicts = AVERAGED_AGAIN.cycles, AVERAGED_AGAIN.verdicts[3:]
    told = [again.request.id, again.decisions[0].id, *(verdict.id for verdict in verdicts)]
    assert [each["id"] for each in answer["because"]] == told
    words = [line.split()[0] for line in served_text(answer).splitlines() if any(each in line for each in told)]
    assert words == ["asked", "ordered", "judged", "judged", "judged"]


def test_an_average_names_every_member_with_the_rows_that_it_learned() -> None:
    answer = served_at(HISTORY, [{**NOTES[0], "serves": FIRST.candidate}], AT + 8 * DAY)
    fresh, first = answer["members"]
    assert (fresh["model_digest"], first["model_digest"]) == ("fit", "first")
    assert (first["candidate"], first["version"], first["run"]) == (FIRST.candidate, "2", "r2")
    assert fresh["version"] is None
    assert first["window"]["digest"] == "d"
    heading, *lines = served_text(answer).splitlines()[4:7]
    assert "average" in heading
    for line, member in zip(lines, (fresh, first), strict=True):
        assert member["candidate"] in line
        assert "10 rows from 2024-01-01 00:00 UTC to 2024-01-02 00:00 UTC (all), digest d" in line
    assert all_served_text(all_served(HISTORY, [])).count("average of 2") == 1
    assert served_at(HISTORY, [], AT)["members"] == []


def test_a_roll_back_says_that_a_watch_led_to_it_and_that_the_alias_was_not_confirmed() -> None:
    answer = served_at(HISTORY, NOTES, AT + 15 * DAY)
    assert answer["kind"] == "rollback"
    assert [each["kind"] for each in answer["because"]] == ["watch"]
    assert "not confirmed" in served_text(answer)
    assert "the ledger ends at 2024-01-15" in served_text(answer)


def test_before_the_first_release_nothing_served() -> None:
    answer = served_at(HISTORY, [], AT - DAY)
    assert set(answer) == set(served_at(HISTORY, [], AT))
    assert answer["release"] is None
    assert "the first release was at 2024-01-01 00:00 UTC" in served_text(answer)
    assert "has no release" in served_text(served_at(History(), [], AT))


def test_all_that_served_is_listed_with_the_moves_of_aliases() -> None:
    answer = all_served(HISTORY, NOTES)
    assert [stint["release"] for stint in answer["served"]] == [release.id for release in HISTORY.releases]
    assert answer["aliases"] == [
        {
            "alias": "champion", "candidate": PROMOTED.candidate, "version": "2", "run": "r2",
            "at": "2024-01-08T00:00:00Z", "done_at": "2030-01-01T00:00:01Z",
        }
    ]  # fmt: skip
    assert all_served_text(answer).count("release-") == 3
    assert all_served_text(all_served(History(), [])) == "nothing served yet"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2013-05-01", datetime(2013, 5, 1, tzinfo=UTC)),
        ("2013-05-01T12:30", datetime(2013, 5, 1, 12, 30, tzinfo=UTC)),
        ("2013-05-01 12:30Z", datetime(2013, 5, 1, 12, 30, tzinfo=UTC)),
        ("2013-05-01T12:30+02:00", datetime(2013, 5, 1, 10, 30, tzinfo=UTC)),
    ],
)
def test_a_time_without_a_zone_is_in_utc(text: str, expected: datetime) -> None:
    assert moment(text) == expected


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2013-13-01", "1", "0001-01-01T00:00+14:00", "9999-12-31T23:00-05:00"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no time; write ISO 8601"):
        moment(text)
