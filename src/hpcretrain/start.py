"""Start one's own: write a configuration and a policy into a folder, guessed from a table if one is given."""

from __future__ import annotations

import dataclasses
import glob
import os
import shlex
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from hpcretrain.config.features import LeftOut, guess_features
from hpcretrain.config.guess import (
    Guess,
    Warnings,
    find_target,
    guess_metrics,
    guess_name,
    guess_task,
    listed,
)
from hpcretrain.config.load import shipped_policy
from hpcretrain.config.outlook import Calendar
from hpcretrain.config.pace import Times, guess_pace
from hpcretrain.config.template import (
    CONFIG_FILE,
    PLACEHOLDERS,
    POLICY_FILE,
    render,
    shipped_policy_text,
)
from hpcretrain.config.timeguess import guess_time
from hpcretrain.config.types import parse_duration
from hpcretrain.errors import InputError

if TYPE_CHECKING:
    from hpcretrain.adapters.tablesample import Sample

_NEAR = 2
"""How many folders up a table may be for its path to be written relative to the configuration."""


def init(folder: Path | str, data: Path | str | None = None, target: str | None = None) -> dict[str, Any]:
    """Write `hpcretrain.toml` and `policy.toml` into a folder; see docs/reference/json.md for the result.

    Args:
        folder: Where to; made if need be. Files that exist are never overwritten.
        data: A table from which the configuration is guessed; without one, a template is written.
        target: The column to be predicted.

    Raises:
        InputError: Something cannot be guessed, or the folder cannot be written. Nothing was changed.
    """
    place = Path(folder)
    _require_free(place)
    if data is None:
        if target is not None:
            raise InputError("--target is a column of a table; name the table with --data")
        heading = (
            "What is predicted, from which table, and how its history is replayed. Fill in what is yours; what is "
            "commented out shows its default.",
        )
        text = render(PLACEHOLDERS, heading)
        found: dict[str, Any] = {"rows": None, "guesses": {}, "left_out": [], "warnings": []}
    else:
        text, found = _guessed(place, Path(data), target)
    _write(place, {POLICY_FILE: shipped_policy_text(), CONFIG_FILE: text})
    config = place / CONFIG_FILE
    return {
        "config": str(config),
        "policy": str(place / POLICY_FILE),
        **found,
        "next": shlex.join(["hpcretrain", "backtest", str(config), "--home", str(place / "home")]),
    }


def _guessed(place: Path, data: Path, target: str | None) -> tuple[str, dict[str, Any]]:
    from hpcretrain.adapters.tablesample import look

    if not data.is_file():
        pattern = "; name one file, and make data.path a pattern afterwards" if glob.glob(str(data)) else ""
        raise InputError(f"--data: there is no file {data}{pattern}")
    with look(data) as sample:
        if target is None:
            raise InputError(
                f"--target is missing: which column is to be predicted? {data} has: {listed(sample.sheet.names)}"
            )
        warnings: Warnings = []
        guesses, left_out = _guess(sample, target, warnings)
        of = f"all {sample.rows:,} rows" if sample.whole else f"{sample.sheet.rows:,} of about {sample.rows:,} rows"
        heading = (
            f"Guessed by `hpcretrain init` from {of} of {data.name}. Every key says what it means, and after the arrow "
            "why it has its value. Look at label_delay and features first.",
            *(f"LOOK: {warning}" for warning in warnings),
        )
        guesses = {"data.path": Guess(_path_for(place, data), "the table that was looked at"), **guesses}
        text = render(guesses, heading)
        absolute = {**guesses, "data.path": Guess(glob.escape(os.path.abspath(data)), "")}
        _check(render(absolute, heading), sample)
    return text, {
        "rows": sample.rows,
        "guesses": {key: {"value": guess.value, "why": guess.why} for key, guess in guesses.items()},
        "left_out": [dataclasses.asdict(out) for out in left_out],
        "warnings": warnings,
    }


def _guess(sample: Sample, target: str, warnings: Warnings) -> tuple[dict[str, Guess], tuple[LeftOut, ...]]:
    import numpy as np

    from hpcretrain.adapters import tablefile

    columns = sample.summaries()
    wanted = find_target(target, columns)
    time = guess_time(columns, target, warnings)
    task = guess_task(wanted, warnings)
    binary = task.value == "binary"
    zone = ZoneInfo(time.timezone.value)
    stamps = tablefile.times(sample.sheet, time.column.value, zone, time.reading.time_format)
    labels = sample.labels(target)
    ones = float(np.nanmean(labels))
    policy = shipped_policy()
    pace = guess_pace(
        Times(np.sort(stamps), sample.rows),
        time.timezone.value,
        policy.score.min_rows,
        min(ones, 1 - ones) if binary else 1.0,
    )
    calendar = Calendar(
        stamps,
        until=round(pace.until.timestamp() * 10**6) * 1_000,
        length=int(parse_duration(pace.observe_every.value).total_seconds()) * 10**9,
    )
    facts = [
        sample.facts(column, calendar, labels, policy.data_gate, binary=binary)
        for column in columns
        if column.name not in (target, time.column.value)
    ]
    chosen = guess_features(facts, pace.reference_until.value, warnings)
    primary, guards = guess_metrics(task.value)
    guesses = {
        "model.name": guess_name(sample.path.stem),
        "model.task": task,
        "model.target": Guess(target, "as asked"),
        "model.primary_metric": primary,
        "model.guard_metrics": guards,
        "model.features": chosen.features,
        "model.categorical": chosen.categorical,
        "data.time_column": time.column,
        "data.timezone": time.timezone,
        "data.time_format": time.time_format,
        "data.label_delay": pace.label_delay,
        "backtest.reference_until": pace.reference_until,
        "backtest.observe_every": pace.observe_every,
        "backtest.report_every": pace.report_every,
        "policy.file": Guess(POLICY_FILE, "a copy of the policy that ships, to be changed"),
    }
    return {key: guess for key, guess in guesses.items() if guess is not None}, chosen.left_out


def _check(text: str, sample: Sample) -> None:
    """Read configuration and sample as a backtest does; whatever that refuses is refused here."""
    from hpcretrain.adapters.clock import VirtualClock
    from hpcretrain.config.load import load
    from hpcretrain.desks import open_table
    from hpcretrain.steps.tick import require_reference

    with TemporaryDirectory(prefix="hpcretrain-init-") as folder:
        _write(Path(folder), {POLICY_FILE: shipped_policy_text(), CONFIG_FILE: text})
        terms = load(Path(folder) / CONFIG_FILE)
        table = open_table(dataclasses.replace(terms, paths=(sample.copy,)), VirtualClock(terms.reference_until))
        require_reference(table, table.first_time, terms.reference_until)


def _path_for(place: Path, data: Path) -> str:
    """The table's path as the configuration in `place` is to say it: relative if it is near, with globs escaped."""
    whole = data.parent.resolve() / data.name
    relative = os.path.relpath(whole, place.resolve())
    near = Path(relative).parts.count(os.pardir) <= _NEAR
    return glob.escape(relative if near else str(whole))


def _require_free(place: Path) -> None:
    if place.exists() and not place.is_dir():
        raise InputError(f"{place} is a file; name a folder")
    there = [name for name in (CONFIG_FILE, POLICY_FILE) if os.path.lexists(place / name)]
    if there:
        raise InputError(f"{place} has {' and '.join(there)} already; name another folder, or remove what is there")


def _write(place: Path, texts: dict[str, str]) -> None:
    """Write all files or none, without overwriting any."""
    with ExitStack() as undo:
        try:
            for folder in reversed([each for each in (place, *place.parents) if not each.exists()]):
                folder.mkdir()
                undo.callback(folder.rmdir)
            for name, text in texts.items():
                # "x" refuses a file that has come since it was looked for.
                with (place / name).open("x", encoding="utf-8") as file:
                    undo.callback((place / name).unlink)
                    file.write(text)
        except OSError as error:
            raise InputError(f"{place} cannot be written: {error.strerror or error}; nothing was left there") from error
        undo.pop_all()
