"""A picture of champion and candidate on the rows that judged them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcretrain.ports import FloatArray, Gain, Meeting
from hpcretrain.stats.metrics import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLES = {"champion": ("#777777", "--"), "candidate": ("#0b5fa5", "-")}
_BETTER, _WORSE, _UNCLEAR = "#1a7f37", "#9a1b1b", "#555555"
_POINTS = 400
_BINS = 10
_MOST_DOTS = 1_000
_TWO_PANELS = 0.64


def draw(meeting: Meeting, title: str, path: Path) -> None:
    """Draw a meeting as a PNG: two panels of predictions, and one of gains with their 95 % intervals.

    Binary tasks show ROC and calibration, regressions predictions against labels and residuals.

    Args:
        meeting: With at least one gain, so that labels and predictions are finite.
        title: Above the panels.
        path: The file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4.4), dpi=90)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    first, second, third = figure.subplots(1, 3, width_ratios=(1, 1, 1.15))
    # A layout that matplotlib works out takes twice as long.
    figure.subplots_adjust(left=0.05, right=0.985, bottom=0.12, top=0.83, wspace=0.36)
    models = {"champion": meeting.champion, "candidate": meeting.candidate}
    if meeting.task == "binary":
        _roc(first, meeting.labels, models, meeting.gains)
        _calibration(second, meeting.labels, models)
    else:
        _predicted(first, meeting.labels, models)
        _residuals(second, meeting.labels, models)
    _forest(third, meeting.gains)
    for axes in (first, second, third):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def panels(picture: bytes) -> bytes:
    """Of a picture that `draw` made the two panels of predictions, so that they can be read in a narrow column."""
    from io import BytesIO

    from PIL import Image

    whole = Image.open(BytesIO(picture))
    part = BytesIO()
    whole.crop((0, 0, round(_TWO_PANELS * whole.width), whole.height)).save(part, "PNG", optimize=True)
    return part.getvalue()


def _roc(axes: Axes, labels: FloatArray, models: dict[str, FloatArray], gains: tuple[Gain, ...]) -> None:
    aucs = {name: getattr(gain, name) for gain in gains if gain.metric == "auc" for name in models}
    for name, predictions in models.items():
        order = np.argsort(-predictions, kind="stable")
        # Rows of one prediction are one step, or ties would look like skill.
        last = np.append(np.flatnonzero(np.diff(predictions[order])), len(order) - 1)
        hits, misses = np.cumsum(labels[order] == 1)[last], np.cumsum(labels[order] != 1)[last]
        thin = np.unique(np.linspace(0, len(last) - 1, _POINTS).astype(int))
        color, dash = _STYLES[name]
        label = f"{name}, AUC {aucs[name]:.4f}" if name in aucs else name
        axes.plot([0, *misses[thin] / misses[-1]], [0, *hits[thin] / hits[-1]], dash, color=color, label=label)
    axes.plot([0, 1], [0, 1], ":", color="#bbbbbb", linewidth=1)
    _label(axes, "ROC", "share of negatives called positive", "share of positives found")
    axes.legend(frameon=False, fontsize=8.5, loc="lower right")


def _calibration(axes: Axes, labels: FloatArray, models: dict[str, FloatArray]) -> None:
    highest = 0.0
    for name, predictions in models.items():
        parts = [part for part in np.array_split(np.argsort(predictions, kind="stable"), _BINS) if len(part)]
        expected = np.array([predictions[part].mean() for part in parts])
        seen = np.array([labels[part].mean() for part in parts])
        margin = np.array(
            [1.96 * np.sqrt(rate * (1 - rate) / len(part)) for rate, part in zip(seen, parts, strict=True)]
        )
        color, dash = _STYLES[name]
        axes.errorbar(expected, seen, margin, fmt=f"o{dash}", color=color, markersize=4, linewidth=1.2, label=name)
        highest = max(highest, float(expected.max()), float((seen + margin).max()))
    axes.plot([0, highest], [0, highest], ":", color="#bbbbbb", linewidth=1)
    _label(axes, "Calibration, in tenths of the rows", "mean predicted probability", "share of positives")
    axes.legend(frameon=False, fontsize=8.5, loc="upper left")


def _predicted(axes: Axes, labels: FloatArray, models: dict[str, FloatArray]) -> None:
    some = np.unique(np.linspace(0, len(labels) - 1, _MOST_DOTS).astype(int))
    for name, predictions in models.items():
        color, _ = _STYLES[name]
        axes.plot(predictions[some], labels[some], "o", color=color, markersize=2.5, alpha=0.45, label=name, mew=0)
    ends = [labels[some].min(), labels[some].max()]
    axes.plot(ends, ends, ":", color="#333333", linewidth=1)
    _label(axes, "Predicted and actual", "predicted", "actual")
    axes.legend(frameon=False, fontsize=8.5, loc="upper left", markerscale=2)


def _residuals(axes: Axes, labels: FloatArray, models: dict[str, FloatArray]) -> None:
    residuals = {name: predictions - labels for name, predictions in models.items()}
    everything = np.concatenate(list(residuals.values()))
    low, high = np.quantile(everything, [0.005, 0.995])
    edges = np.linspace(low, high if high > low else low + 1, 41)
    for name, values in residuals.items():
        color, dash = _STYLES[name]
        counts, _ = np.histogram(values, edges)
        axes.stairs(counts / len(values), edges, color=color, linestyle=dash, linewidth=1.4, label=name)
    axes.axvline(0, color="#bbbbbb", linestyle=":", linewidth=1)
    _label(axes, "Residuals (99 % of them)", "predicted minus actual", "share of rows")
    axes.legend(frameon=False, fontsize=8.5, loc="upper left")


def _forest(axes: Axes, gains: tuple[Gain, ...]) -> None:
    """Gains as shares of the champion's value, so that metrics of different units stand on one axis."""
    axes.axvline(0, color="#333333", linewidth=1)
    for row, gain in enumerate(gains):
        scale = 100 / abs(gain.champion) if gain.champion else 100.0
        low, value, high = (scale * number for number in (gain.lower, gain.gain, gain.upper))
        color = _BETTER if low > 0 else _WORSE if high < 0 else _UNCLEAR
        axes.plot([low, high], [row, row], "-", color=color, linewidth=2)
        axes.plot([value], [row], "s", color=color, markersize=7)
        # Beside its mark a long text would leave the picture.
        words = f"{gain.champion:.4g} → {gain.candidate:.4g}:  {gain.gain:+.3g}  [{gain.lower:+.3g}, {gain.upper:+.3g}]"
        axes.text(0.5, row - 0.2, words, transform=axes.get_yaxis_transform(), ha="center", fontsize=9)
    axes.set_yticks(range(len(gains)), [_arrow(gain.metric) for gain in gains])
    axes.set_ylim(len(gains) - 0.4, -0.6)
    axes.margins(x=0.2)
    _label(axes, "Gain over the champion, 95 % interval", "gain, % of the champion's value (right is better)", "")


def _arrow(metric: str) -> str:
    return f"{metric} {'↑' if METRICS[metric].higher_is_better else '↓'}"


def _label(axes: Any, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8.5)
