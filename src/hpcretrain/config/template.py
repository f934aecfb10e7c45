"""Write a configuration with a comment beside every key: what it means, and why it has its value."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from datetime import timedelta
from importlib import resources
from typing import Any

from dateutil.relativedelta import relativedelta
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hpcretrain.config.guess import Guess
from hpcretrain.config.load import SHIPPED_POLICY
from hpcretrain.config.types import Config

CONFIG_FILE, POLICY_FILE = "hpcretrain.toml", "policy.toml"

Guesses = Mapping[str, Guess]
"""By key with its table, such as `model.task`."""

PLACEHOLDERS: Guesses = {
    "model.name": Guess("model", "yours to choose"),
    "model.task": Guess("binary", '"binary" if the target is 0 or 1, false or true; "regression" if it is a number'),
    "model.target": Guess("target", "yours to fill in"),
    "data.path": Guess("table.csv", "yours to fill in"),
    "data.time_column": Guess("time", "yours to fill in; it must be the time at which the prediction is made"),
    "data.label_delay": Guess("1d", "matters most: too short, and labels are learned from before anyone had them"),
    "backtest.reference_until": Guess("2024-03-01", "yours to fill in; a fifth of the table, or some thousand rows"),
    "policy.file": Guess(POLICY_FILE, "a copy of the policy that ships, to be changed"),
}

# What a key may look like that has no value by default.
_EXAMPLES: Mapping[str, Any] = {
    "model.team": "shop",
    "model.traffic": "traffic.csv",
    "model.primary_metric": "auc",
    "model.guard_metrics": ("log_loss",),
    "model.features": ("amount", "country"),
    "model.categorical": ("country",),
    "data.time_format": "%d.%m.%Y %H:%M",
    "data.drop": ("notes",),
    "data.mask": ("customer",),
}

_WIDTH = 110
_DAY = timedelta(days=1)


def shipped_policy_text() -> str:
    """The policy that ships, as it is, with its comments."""
    return resources.files("hpcretrain.config").joinpath(SHIPPED_POLICY).read_text(encoding="utf-8")


def render(guesses: Guesses, heading: Sequence[str]) -> str:
    """A configuration file: every key that there is, those without a guess as comments with their defaults.

    Args:
        guesses: The values.
        heading: Remarks that stand at the top, one a paragraph.
    """
    parts = [_comment(*heading)]
    for section, field in Config.model_fields.items():
        kind = field.annotation
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            # Who people are and how they are told: nothing that a table tells anything of.
            continue
        keys = [_key(f"{section}.{key}", inner, guesses) for key, inner in kind.model_fields.items()]
        parts.append("\n\n".join([f"{_comment(_line(kind.__doc__))}\n[{section}]", *keys]))
    return "\n\n\n".join(parts) + "\n"


def toml(value: Any) -> str:
    """A value of a configuration as TOML, in one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # TOML takes the escapes of JSON, and wants one more character to be escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, timedelta | relativedelta):
        return f'"{_duration(value)}"'
    if isinstance(value, Mapping):
        inner = ", ".join(f"{toml(key)} = {toml(each)}" for key, each in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, Sequence):
        return f"[{', '.join(toml(each) for each in value)}]"
    return str(value)


def _key(path: str, field: FieldInfo, guesses: Guesses) -> str:
    key, meaning = path.split(".")[1], _line(field.description)
    guess = guesses.get(path)
    if guess is None:
        default = field.default if field.default not in (None, "", ("",)) else _EXAMPLES.get(path, "")
        return f"{_comment(meaning)}\n# {key} = {toml(default)}"
    lines = [_comment(meaning, f"-> {guess.why}"), f"{key} = {_value(guess)}"]
    return "\n".join([*lines, _comment(*guess.after)] if guess.after else lines)


def _value(guess: Guess) -> str:
    if not guess.notes:
        return toml(guess.value)
    width = max(len(toml(each)) for each in guess.value) + 1
    rows = [f"    {f'{toml(each)},':<{width}}  # {_line(guess.notes[each])}" for each in guess.value]
    return "\n".join(["[", *rows, "]"])


def _comment(*paragraphs: str) -> str:
    wrap = {"width": _WIDTH, "break_long_words": False, "break_on_hyphens": False}
    lines = [textwrap.fill(_line(text), initial_indent="# ", subsequent_indent="#   ", **wrap) for text in paragraphs]  # type: ignore[arg-type]
    return "\n".join(lines)


def _line(text: str | None) -> str:
    """Text in one line, without what TOML forbids in a comment."""
    return "".join(letter for letter in " ".join((text or "").split()) if letter.isprintable())


def _duration(value: timedelta | relativedelta) -> str:
    if isinstance(value, relativedelta):
        if value.months or value.years:
            return f"{value.years * 12 + value.months}mo"
        value = timedelta(days=value.days, seconds=value.seconds)
    days, rest = divmod(value, _DAY)
    return f"{days * 24 * 60 + rest // timedelta(minutes=1)}min" if rest else f"{days}d"
