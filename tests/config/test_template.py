"""A configuration as it is written: every key, with its meaning and its reason, and read back unchanged."""

from __future__ import annotations

import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from hpcretrain.config.guess import Guess
from hpcretrain.config.load import load, shipped_policy
from hpcretrain.config.template import PLACEHOLDERS, POLICY_FILE, render, shipped_policy_text, toml
from hpcretrain.config.types import Config, parse_duration, parse_step

# A TOML file is text of which surrogates are no part.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
TABLES = {
    section: kind
    for section, field in Config.model_fields.items()
    if isinstance(kind := field.annotation, type) and issubclass(kind, BaseModel)
}
KEYS = [(section, key) for section, kind in TABLES.items() for key in kind.model_fields]


def test_a_filled_in_template_loads(tmp_path: Path) -> None:
    (tmp_path / "hpcretrain.toml").write_text(render(PLACEHOLDERS, ("Heading.",)))
    (tmp_path / POLICY_FILE).write_text(shipped_policy_text())
    (tmp_path / "table.csv").write_text("time,target\n")
    terms = load(tmp_path / "hpcretrain.toml")
    assert terms.config.model.target == "target"
    assert terms.policy == shipped_policy()


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_every_key_is_there_with_what_it_means(section: str, key: str) -> None:
    part = render(PLACEHOLDERS, ()).split(f"[{section}]")[1]
    before = part.split(f"\n{key} = ")[0] if f"\n{key} = " in part else part.split(f"\n# {key} = ")[0]
    meaning = TABLES[section].model_fields[key].description
    assert before != part
    assert meaning is not None
    assert meaning[:60] in before.splitlines()[-1] + before.splitlines()[-2]


def test_what_is_commented_out_is_toml_once_it_is_not() -> None:
    lines = render(PLACEHOLDERS, ()).splitlines()
    known = {f"# {key} = " for _, key in KEYS}
    opened = [line[2:] if any(line.startswith(key) for key in known) else line for line in lines]
    Config.model_validate(tomllib.loads("\n".join(opened)))


@settings(deadline=None)
@example(name='\x7f"\\', why="\x7f", note="a\nb", heading="\r\x00", after="\x1f")
@given(name=TEXT, why=TEXT, note=TEXT, heading=TEXT, after=TEXT)
def test_any_text_is_read_back_unchanged_and_never_breaks_a_comment(
    name: str, why: str, note: str, heading: str, after: str
) -> None:
    features = Guess((name, "other"), why, {name: note, "other": ""}, (after,))
    guesses = {**PLACEHOLDERS, "model.target": Guess(name, why), "model.features": features}
    content = tomllib.loads(render(guesses, (heading,)))
    assert content["model"]["target"] == name
    assert content["model"]["features"] == [name, "other"]
    assert content["data"] == {"path": "table.csv", "time_column": "time", "label_delay": "1d"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (1, "1"),
        (0.5, "0.5"),
        ('a "b"\\', '"a \\"b\\"\\\\"'),
        (("a", "b"), '["a", "b"]'),
        ({"n": 1}, '{ "n" = 1 }'),
        ({}, "{}"),
        (timedelta(days=7), '"7d"'),
        (timedelta(hours=36), '"2160min"'),
        (timedelta(0), '"0d"'),
        (relativedelta(months=1), '"1mo"'),
        (relativedelta(seconds=604_800), '"7d"'),
    ],
)
def test_values_are_written_as_toml(value: Any, text: str) -> None:
    assert toml(value) == text


@given(st.timedeltas(timedelta(minutes=1), timedelta(days=36_500)))
def test_durations_are_read_back(value: timedelta) -> None:
    whole = timedelta(minutes=value // timedelta(minutes=1))
    assert parse_duration(toml(whole).strip('"')) == whole


@given(st.integers(1, 900))
def test_months_are_read_back(months: int) -> None:
    assert parse_step(toml(relativedelta(months=months)).strip('"')) == relativedelta(months=months)
