from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from weekly_traffic import BERLIN, PLAIN

from hpcretrain.adapters.trafficfile import read_traffic
from hpcretrain.errors import InputError
from hpcretrain.stats.traffic import Series

START = datetime(2026, 5, 1)
MINUTE = timedelta(minutes=1)


def write(path: Path, *rows: str, header: str = "timestamp,value") -> Path:
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


def every(minutes: float, count: int, begin: datetime = START) -> list[str]:
    return [f"{begin + place * minutes * MINUTE},{place}" for place in range(count)]


def series(path: Path, *rows: str, until: datetime | None = None) -> Series:
    read = read_traffic(write(path, *rows), PLAIN)
    return read.series(None if until is None else int(until.replace(tzinfo=UTC).timestamp()))


def refusal(path: Path, *rows: str) -> str:
    with pytest.raises(InputError) as refused:
        series(path, *rows)
    return str(refused.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "traffic.csv"


def test_rows_an_hour_apart_are_slots_of_an_hour(file: Path) -> None:
    found = series(file, *every(60, 5))
    assert (found.first_s, found.slot_s) == (int(START.replace(tzinfo=UTC).timestamp()), 3_600)
    assert found.values.tolist() == [0, 1, 2, 3, 4]


def test_finer_rows_are_averaged_into_quarters_of_an_hour(file: Path) -> None:
    found = series(file, *every(5, 9, START + 5 * MINUTE))
    assert (found.first_s % 900, found.slot_s) == (0, 900)
    assert found.values.tolist() == [0.5, 3.0, 6.0, np.nan] or np.isnan(found.values[-1])
    assert found.values[:3].tolist() == [0.5, 3.0, 6.0]


def test_missing_rows_and_empty_values_are_gaps(file: Path) -> None:
    rows = every(60, 6)
    rows[1], rows[3] = f"{START + 60 * MINUTE},", ""
    assert np.isnan(series(file, *rows).values).tolist() == [False, True, False, True, False, False]


@given(seed=st.integers(0, 1_000))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_order_of_rows_does_not_matter(file: Path, seed: int) -> None:
    rows = every(30, 40)
    del rows[7]
    mixed = random.Random(seed).sample(rows, len(rows))
    one, other = series(file, *rows), series(file, *mixed)
    assert (one.first_s, one.slot_s) == (other.first_s, other.slot_s)
    np.testing.assert_array_equal(one.values, other.values)


def test_what_is_not_over_by_then_is_left_out(file: Path) -> None:
    finer_later = [*every(60, 5), *every(1, 60, START + timedelta(days=1))]
    found = series(file, *finer_later, until=START + 3.5 * 60 * MINUTE)
    assert found.values.tolist() == [0, 1, 2]


def test_times_may_be_a_little_off(file: Path) -> None:
    rows = every(60, 5)
    rows[2] = f"{START + 121 * MINUTE},2"
    assert series(file, *rows).values.tolist() == [0, 1, 2, 3, 4]


def test_times_without_an_offset_are_local_and_the_repeated_hour_is_told_by_order(file: Path) -> None:
    night = ["2026-10-25 01:00,1", "2026-10-25 02:00,2", "2026-10-25 02:00,3", "2026-10-25 03:00,4"]
    found = read_traffic(write(file, *night), BERLIN).series()
    assert found.values.tolist() == [1, 2, 3, 4]
    assert datetime.fromtimestamp(found.first_s, UTC) == datetime(2026, 10, 24, 23, tzinfo=UTC)


def test_times_with_an_offset_need_no_zone(file: Path) -> None:
    rows = ["2026-10-25T02:00:00+02:00,1", "2026-10-25T02:00:00+01:00,2", "2026-10-25T02:00:00Z,3"]
    one, other = (read_traffic(write(file, *rows), zone).series() for zone in (BERLIN, PLAIN))
    assert one.first_s == other.first_s
    assert one.values.tolist() == other.values.tolist() == [1, 2, 3]


def test_other_columns_and_a_byte_order_mark_do_not_disturb(file: Path) -> None:
    file.write_text("\ufeffvalue,site,timestamp\n1,a,2026-05-01\n2,b,2026-05-01 01:00\n", encoding="utf-8")
    assert read_traffic(file, PLAIN).values.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("yesterday,1", 'line 4: timestamp "yesterday" is no time'),
        ("2026-05-01 02:00,many", 'line 4: value "many" is no number'),
        ("2026-05-01 02:00,1,5", "line 4: 3 cells, where the header has 2"),
        ("2026-05-01 02:00,-1", "line 4: value -1 is negative"),
        ("2026-05-01 02:00,1e308", "line 4: value 1e308 is above"),
        ("2026-05-01 02:00,nan", 'line 4: value "nan" is not finite'),
        ("2026-05-01 02:00,inf", 'line 4: value "inf" is not finite'),
        ("2026-05-01 01:00,7", "line 4: 2026-05-01 01:00 is there with another value in line 3"),
        ("2026-05-01 01:20,1", "line 4: is no multiple of 60 min after the first row"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_by_its_line(file: Path, row: str, said: str) -> None:
    first, second, *rest = every(60, 6)
    assert said in refusal(file, first, second, row, *rest[1:])


def test_the_same_row_twice_counts_once(file: Path) -> None:
    first, *rest = every(60, 4)
    assert series(file, first, first, *rest).values.tolist() == [0, 1, 2, 3]


def test_all_bad_rows_are_counted_and_the_first_are_told(file: Path) -> None:
    told = refusal(file, *every(60, 3), *["x,1"] * 9).splitlines()
    assert len(told) == 6
    assert told[-1] == "... and 4 more of this kind"


def test_a_time_that_clocks_skip_is_refused(file: Path) -> None:
    with pytest.raises(InputError, match=r"line 2: 2026-03-29 02:30 does not exist in Europe/Berlin"):
        read_traffic(write(file, "2026-03-29 02:30,1"), BERLIN)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "no row below the header"),
        (every(60, 1), "1 row; at least two"),
        (every(1_440, 9), "rows are 1440 min apart"),
        (every(7, 9), "does not divide an hour"),
        (every(60, 24) + every(30, 60, START + timedelta(days=1)), "60 min apart here and 30 min elsewhere"),
    ],
)
def test_a_resolution_that_cannot_be_used_is_told(file: Path, rows: list[str], said: str) -> None:
    assert said in refusal(file, *rows)


def test_a_file_that_is_none_is_told(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        read_traffic(file, PLAIN)
    with pytest.raises(InputError, match="cannot be read as CSV"):
        read_traffic(tmp_path, PLAIN)
    with pytest.raises(InputError, match=r"must name one column value; it has: timestamp, count"):
        read_traffic(write(file, "2026-05-01,1", header="timestamp,count"), PLAIN)
    file.write_bytes(b"timestamp,value\n\xff\xfe,1\n")
    with pytest.raises(InputError, match="cannot be read as CSV"):
        read_traffic(file, PLAIN)
