"""The newest meeting of a candidate with the champion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hpcretrain.ports import Gain
from hpcretrain.records import Candidate, Stage, Verdict
from hpcretrain.report import markdown, wording
from hpcretrain.report.artifacts.intervals import intervals
from hpcretrain.report.artifacts.shown import MARKDOWN, Artifact, Shown, findings
from hpcretrain.report.pictures import panels
from hpcretrain.stats.metrics import METRICS

_STAGES = {Stage.SELECTION: "selection", Stage.GATE: "gate", Stage.REFIT: "check of the full fit"}


def comparison(shown: Shown) -> Artifact:
    """The newest meeting of a candidate with the champion: metrics with intervals, pictures, and the verdict."""
    verdict = next((each for each in reversed(shown.history.verdicts) if each.stage is not Stage.REFIT), None)
    if verdict is None:
        words = "no candidate met the champion yet"
        return Artifact("comparison", MARKDOWN, words, f"{wording.capitalized(words)}.")
    gains = _gains(verdict, shown)
    candidate = shown.history.known.get(verdict.candidate)
    rows = f" on {verdict.holdout.rows:,} held-out rows" if verdict.holdout else ""
    said = f"{_STAGES[verdict.stage]}, {wording.OUTCOMES[verdict.outcome]}"
    picture = shown.picture(verdict.candidate) if gains else None
    return Artifact(
        "comparison",
        MARKDOWN,
        f"{said}, {wording.day(verdict.at, shown.zone)}{_first_gain(gains)}",
        markdown.paragraphs(
            f"**{wording.capitalized(said)}**: {markdown.code(verdict.candidate)} ({_made(candidate)}) against what "
            f"serves{rows}, {wording.day(verdict.at, shown.zone)}.",
            _gain_table(gains),
            markdown.image("Gains with their 95 % intervals", "image/svg+xml", intervals(gains).encode())
            if gains
            else "",
            f"## Verdict\n\n{findings(verdict.findings)}",
            markdown.image("Champion and candidate on the held-out rows", "image/png", panels(picture))
            if picture
            else "",
            f"{markdown.code(verdict.id)}; `hpcretrain explain {verdict.id}` tells more. {shown.foot}",
        ),
        verdict.id,
    )


def _gains(verdict: Verdict, shown: Shown) -> list[Gain]:
    """What was measured for the verdict, the primary metric first; nothing while it was not, or is not defined."""
    noted: Mapping[str, float] = {}
    for note in shown.notes:
        if note["event"] == "measured" and note["facts"]["tags"].get("verdict_id") == verdict.id:
            noted = note["facts"]["metrics"]
    gains = []
    for name in sorted(METRICS, key=lambda name: (name != shown.primary_metric, name)):
        keys = (f"{name}_champion", name, f"{name}_gain", f"{name}_gain_lower", f"{name}_gain_upper")
        if all(key in noted and math.isfinite(noted[key]) for key in keys):
            gains.append(Gain(name, *(float(noted[key]) for key in keys)))
    return gains


def _gain_table(gains: Sequence[Gain]) -> str:
    if not gains:
        return "Nothing was measured: what stands below says why."
    headings = (("Metric", False), ("Champion", True), ("Candidate", True), ("Gain", True), ("95 % interval", False))
    rows = []
    for gain in gains:
        better = "higher" if METRICS[gain.metric].higher_is_better else "lower"
        clear = " **better**" if gain.lower > 0 else " **worse**" if gain.upper < 0 else " not clear"
        ends = f"{_signed(gain.lower)} to {_signed(gain.upper)},{clear}"
        name = f"{wording.capitalized(wording.metric(gain.metric))} ({better} is better)"
        rows.append((name, f"{gain.champion:.4g}", f"{gain.candidate:.4g}", _signed(gain.gain), ends))
    return markdown.table(headings, rows)


def _signed(number: float) -> str:
    return f"{number:+.3g}".replace("-", wording.MINUS)


def _first_gain(gains: Sequence[Gain]) -> str:
    return f": {wording.metric(gains[0].metric)} gain {_signed(gains[0].gain)}" if gains else ""


def _made(candidate: object) -> str:
    if not isinstance(candidate, Candidate):
        return "which gave no model"
    made = f"average of {wording.plural(len(candidate.members), 'fit')}, " if candidate.members else ""
    return f"{made}window “{markdown.escape(candidate.window.name)}”"
