"""Signals in words: what each says, and what it means for a model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from hpcretrain.evidence import Family, Measure

MOST_CHARACTERS = 400
"""Of a text in a line of signals."""

MEANINGS = {
    Family.PERFORMANCE: "predictions are worse than they were: retraining helps if it lasts",
    Family.CALIBRATION: "predictions are off, on average or in parts of their range: often the first sign of a decline",
    Family.INPUT_DRIFT: "what the model reads has moved; whether it predicts worse, labels tell",
    Family.PREDICTION_SHIFT: "what the model says, or its features tell, has moved; whether it is worse, labels tell",
    Family.DATA_QUALITY: "what the model reads is broken: mend the data, do not learn from it",
    Family.SERVING: "serving is slower or fails more than usual: for whoever runs it",
    Family.UPSTREAM: "a source of data is late or broken: it will show in the data next",
    Family.EXTERNAL: "somebody outside says so",
    Family.FRESHNESS: "there is more to learn from",
    Family.BLIND: "nothing was heard where something should have been; not a sign of health",
}


def printable(measure: Measure) -> Measure:
    """The signal as a line of signals can hold it: names and reasons of other tools may be any text."""
    return measure._replace(
        model=_one_line(measure.model) or "?",
        name=_one_line(measure.name) or "?",
        reason=_one_line(measure.reason),
    )


def _one_line(text: str) -> str:
    words = "".join(letter if letter.isprintable() else " " for letter in text).split()
    return " ".join(words)[:MOST_CHARACTERS].strip()


def text(measures: Sequence[Measure]) -> str:
    """All signals, one a line, by model and family, with what the family means where something of it is worse."""
    if not measures:
        return "no signal: nothing was measured in that time"
    lines = []
    for model in dict.fromkeys(measure.model for measure in measures):
        mine = [measure for measure in measures if measure.model == model]
        lines.append(f"{model}: {_tally(mine)}")
        for family in Family:
            some = [measure for measure in mine if measure.family is family]
            if some:
                lines.append(f"  {family.value}: {_meaning(family, some)}")
                lines += [f"    {_line(measure)}" for measure in some]
    return "\n".join(lines)


def state(measure: Measure) -> str:
    """What a signal comes to, in a word."""
    if measure.family is Family.BLIND:
        return "blind"
    numbers = [number for number in (measure.effect, measure.lower_bound) if number is not None]
    if not all(math.isfinite(number) for number in numbers):
        return "investigate"
    if measure.lower_bound is None:
        return "reported" if measure.family is Family.EXTERNAL else "not measured"
    return "worse" if measure.lower_bound > 0 else "not surely worse" if measure.effect else "not worse"


def _meaning(family: Family, measures: Sequence[Measure]) -> str:
    """What the family means where something of it counts; else what was found instead."""
    states = {state(measure) for measure in measures}
    if states & {"worse", "blind", "reported"}:
        return MEANINGS[family]
    if "investigate" in states:
        return "broken: a number is none; mend what measures it"
    if states == {"not measured"}:
        return "nothing measured; not a sign of health"
    return "nothing worse" + (" where it was measured" if "not measured" in states else "")


def _tally(measures: Sequence[Measure]) -> str:
    counts = Counter(state(measure) for measure in measures)
    return f"{len(measures)} signals, " + ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))


def _line(measure: Measure) -> str:
    numbers = ""
    if measure.effect is not None and measure.family is not Family.BLIND:
        bound = f", at least {measure.lower_bound:.4g}" if measure.lower_bound is not None else ""
        numbers = f" {measure.effect:.4g}{bound}, n {measure.n}"
    deadline = f", until {measure.deadline:%Y-%m-%d %H:%M}Z" if measure.deadline else ""
    why = f": {measure.reason}" if measure.reason else ""
    return f"{measure.at:%Y-%m-%d %H:%M}Z {state(measure):<16} {measure.name}{numbers}{deadline}{why}"
