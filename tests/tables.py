"""Tables for tests: what they predict, and where they change, is known."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd

START = pd.Timestamp("2024-01-01", tz="UTC")


def orders(rows: int = 12_000, minutes: int = 15, change_at: float | None = 0.5, seed: int = 1) -> pd.DataFrame:
    """A binary task whose rule turns round at a share `change_at` of the rows; None for a table without any change."""
    random = np.random.default_rng(seed)
    time = START + pd.to_timedelta(np.arange(rows) * minutes, unit="min")
    amount, days = random.lognormal(3, 0.6, rows), random.integers(1, 10, rows)
    country = random.choice(["DE", "FR", "PL", "IT"], rows, p=[0.4, 0.3, 0.2, 0.1])
    pull = np.where(country == "PL", 1.0, 0.0) + 0.5 * days - 4.0
    if change_at is not None:
        later = np.arange(rows) >= int(rows * change_at)
        pull = np.where(later, 0.12 * amount - 3.0, pull)
    late = random.random(rows) < 1 / (1 + np.exp(-pull))
    return pd.DataFrame(
        {
            "time": time,
            "amount": amount,
            "days": days.astype("int64"),
            "noise": random.normal(size=rows),
            "country": country,
            "late": late.astype("int64"),
        }
    )


def demand(rows: int = 9_000, minutes: int = 20, change_at: float | None = 0.5, seed: int = 2) -> pd.DataFrame:
    """A regression task whose level and slope change at a share `change_at` of the rows."""
    random = np.random.default_rng(seed)
    time = START + pd.to_timedelta(np.arange(rows) * minutes, unit="min")
    hour, heat = time.hour.to_numpy(), random.normal(20, 5, rows)
    value = 50 + 10 * np.sin(hour / 24 * 2 * np.pi) + heat
    if change_at is not None:
        value = np.where(np.arange(rows) >= int(rows * change_at), 90 - 2 * heat, value)
    return pd.DataFrame({"time": time, "hour": hour, "heat": heat, "value": value + random.normal(0, 3, rows)})


def configure(folder: Path, table: pd.DataFrame | None, **changes: str) -> Path:
    """Write a table (as `table.csv`, unless None) and a configuration into a folder; the configuration's path.

    `changes` replace lines: `model__target='target = "x"'`; a key that is not there yet is added to its table.
    """
    lines = {
        "model": {"name": 'name = "orders"', "task": 'task = "binary"', "target": 'target = "late"'},
        "data": {
            "path": 'path = "table.csv"',
            "time_column": 'time_column = "time"',
            "label_delay": 'label_delay = "1d"',
        },
        "backtest": {
            "reference_until": 'reference_until = "2024-02-01"',
            "observe_every": 'observe_every = "7d"',
            "report_every": 'report_every = "1mo"',
        },
    }
    for name, line in changes.items():
        section, key = name.split("__")
        lines.setdefault(section, {})[key] = line
    folder.mkdir(parents=True, exist_ok=True)
    if table is not None:
        table.to_csv(folder / "table.csv", index=False)
    text = "\n\n".join("\n".join([f"[{section}]", *keys.values()]) for section, keys in lines.items())
    path = folder / "config.toml"
    path.write_text(text + "\n", encoding="utf-8")
    return path


def write_policy(folder: Path, **changes: str) -> dict[str, str]:
    """Write the shipped policy with some lines changed, such as `alpha="0.01"`; what `configure` needs to name it."""
    text = resources.files("hpcretrain.config").joinpath("standard.toml").read_text(encoding="utf-8")
    for key, value in changes.items():
        text, found = re.subn(rf"^{key} = \S+", f"{key} = {value}", text, flags=re.MULTILINE)
        assert found, key
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.toml").write_text(text, encoding="utf-8")
    return {"policy__file": 'file = "policy.toml"'}


REGRESSION = {
    "model__name": 'name = "demand"',
    "model__task": 'task = "regression"',
    "model__target": 'target = "value"',
}
