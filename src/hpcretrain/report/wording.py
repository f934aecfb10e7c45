"""Numbers, times and names as a reader who is no engineer wants them."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from hpcretrain.records import Family, Outcome

_NAMES = {"auc": "AUC", "log_loss": "log loss", "brier": "Brier score", "rmse": "RMSE", "mae": "mean absolute error"}

MEANINGS = {
    "auc": "AUC says how well the model tells the two classes apart: 0.5 is a coin toss, 1 is perfect",
    "log_loss": "Log loss punishes confident mistakes: 0 is perfect",
    "brier": "The Brier score is the mean squared error of the probabilities: 0 is perfect",
    "accuracy": "Accuracy is the share of right answers: 1 is perfect",
    "rmse": "RMSE is the typical size of an error, where large errors weigh more: 0 is perfect",
    "mae": "Mean absolute error is the mean size of an error: 0 is perfect",
}

FAMILIES = {
    Family.PERFORMANCE: ("Performance", "the metric fell on rows whose labels are known by now"),
    Family.CALIBRATION: ("Calibration", "predictions are off, on average or in parts of their range"),
    Family.PREDICTION_SHIFT: ("Prediction shift", "predictions are other than at first, or features tell other things"),
    Family.INPUT_DRIFT: ("Input drift", "the features look different from what the model learned"),
    Family.DATA_QUALITY: ("Data quality", "cells are missing, impossible or of another kind"),
    Family.FRESHNESS: ("New rows", "labeled rows that the model has not learned from yet"),
    Family.SERVING: ("Serving", "answers come late, fail, or take too much memory"),
    Family.UPSTREAM: ("Upstream", "what data comes from reports itself late or broken"),
    Family.EXTERNAL: ("Asked for", "somebody, or an outside system, asks for it"),
    Family.BLIND: ("Blind", "nothing is heard where something was heard before"),
}
"""Each family's name and what it means."""

OUTCOMES = {
    Outcome.PASS: "passed",
    Outcome.WAIT: "wait",
    Outcome.INSUFFICIENT: "too little to tell",
    Outcome.FAIL: "failed",
    Outcome.ERROR: "error",
}
"""Each outcome's word."""

MINUS = "\N{MINUS SIGN}"
NOT_DEFINED = "not defined"
_SHARES = {"auc", "accuracy", "brier", "log_loss"}
_DIGITS = 4


def metric(name: str) -> str:
    """A metric's name within a sentence."""
    return _NAMES.get(name, name.replace("_", " "))


def family(name: str) -> str:
    """A family's name within a sentence."""
    return named(name)[0].lower()


def named(name: str) -> tuple[str, str]:
    """A family's name and what it means; of one that a policy made up, its name."""
    known = {family.value: said for family, said in FAMILIES.items()}
    return known.get(name, (capitalized(name.replace("_", " ")), "families that the policy counts together"))


def families(names: tuple[str, ...]) -> str:
    """Names of families as a list within a sentence."""
    words = [family(name) for name in names]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def capitalized(text: str) -> str:
    """`text` with its first letter capital, the rest as it is."""
    return text[:1].upper() + text[1:]


def value(name: str, number: float | None) -> str:
    """A metric's value: three decimals for shares and losses of probabilities, else four digits."""
    if number is None:
        return NOT_DEFINED
    return signed_zero(f"{number:.3f}") if name in _SHARES else digits(number)


def difference(name: str, number: float) -> str:
    """A difference of two values of a metric, with its sign."""
    text = value(name, abs(number))
    return text if not float(text.replace(",", "")) else f"{'+' if number > 0 else MINUS}{text}"


def digits(number: float | int | str | None) -> str:
    """A number with four digits, never fewer than its whole part has; other things as they are."""
    if number is None:
        return ""
    if isinstance(number, str) or not math.isfinite(number):
        return str(number)
    if isinstance(number, int) or float(number).is_integer():
        return f"{int(number):,}".replace("-", MINUS)
    if abs(number) < 10.0**-_DIGITS:
        return f"{number:.1e}".replace("-", MINUS)
    decimals = max(0, _DIGITS - 1 - max(0, math.floor(math.log10(abs(number)))))
    return signed_zero(f"{number:,.{decimals}f}").replace("-", MINUS)


def signed_zero(text: str) -> str:
    """A zero without the sign that rounding left it."""
    return text[1:] if text.startswith("-") and not float(text.replace(",", "")) else text


def seconds(number: float) -> str:
    """A length of time in the unit that suits it."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if number >= 2 * length:
            return f"{number / length:.1f} {unit}"
    return f"{number:.1f} s" if number >= 1 else f"{number:.2f} s"


def ratio(number: float) -> str:
    """How many times as much."""
    return f"{number:.2f}" if number < 1 else f"{number:.1f}" if number < 10 else f"{number:,.0f}"


def plural(count: int, noun: str) -> str:
    """`count` of a noun whose plural ends in s (or es)."""
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}{'es' if noun.endswith('ch') else 's'}"


def day(moment: datetime, zone: ZoneInfo) -> str:
    """The day of a moment, with the hour where it is no midnight."""
    local = moment.astimezone(zone)
    text = f"{local.day} {local:%b %Y}"
    return text if _midnight(local) else f"{text} {local:%H:%M}"


def span(start: datetime, end: datetime, zone: ZoneInfo) -> str:
    """A stretch of time, up to and with its last day where it ends at midnight."""
    first, last = day(start, zone), end.astimezone(zone)
    until = day(end, zone)
    if _midnight(last):
        before = last - timedelta(hours=2)
        until = f"{before.day} {before:%b %Y}"
    return first if first == until else f"{first} to {until}"


def _midnight(local: datetime) -> bool:
    # Batches keep their length when clocks change, and so their midnights move by an hour.
    return local.minute == 0 and local.hour in (0, 1, 23)


def period(start: datetime, noun: str, zone: ZoneInfo, *, short: bool = False) -> str:
    """The name of a period of the report: its month where it is one, else the day on which it starts."""
    local = start.astimezone(zone)
    if noun == "month" and local.day == 1:
        return f"{local:%b}" if short else f"{local:%B %Y}"
    return f"{local.day} {local:%b}" if short else f"{local.day} {local:%b %Y}"
