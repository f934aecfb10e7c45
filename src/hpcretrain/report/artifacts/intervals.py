"""A small picture of gains with their 95 % intervals, as SVG, that can be read at the width of a column of text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from hpcretrain.ports import Gain
from hpcretrain.report import wording
from hpcretrain.report.chart import Scale
from hpcretrain.stats.metrics import METRICS

_WIDTH, _ROW, _TOP, _BOTTOM, _LEFT, _RIGHT = 640, 52, 34, 30, 96, 24
_BETTER, _WORSE, _UNCLEAR = "#1a7f37", "#9a1b1b", "#555555"


def intervals(gains: Sequence[Gain]) -> str:
    """The gains of a candidate over the champion as shares of the champion's value; above 0 is better.

    Args:
        gains: In the order of the rows; not empty.
    """
    shares = [_shares(gain) for gain in gains]
    farthest = max(abs(number) for row in shares for number in row) or 1.0
    scale = Scale(-1.1 * farthest, 1.1 * farthest, _LEFT, _WIDTH - _RIGHT)
    bottom = _TOP + _ROW * len(gains)
    rows = [
        _row(gain, share, scale, _TOP + _ROW * place)
        for place, (gain, share) in enumerate(zip(gains, shares, strict=True))
    ]
    return "".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{bottom + _BOTTOM}" '
            f'viewBox="0 0 {_WIDTH} {bottom + _BOTTOM}" font-family="Inter, Helvetica, sans-serif" font-size="13">',
            '<rect width="100%" height="100%" rx="6" fill="#ffffff"/>',
            _text(14, 22, "Gain over the champion, 95 % interval, in % of its value", weight="600"),
            f'<line x1="{scale(0)}" x2="{scale(0)}" y1="{_TOP}" y2="{bottom}" stroke="#333333"/>',
            *rows,
            _text(scale(0), bottom + 18, "0", anchor="middle", fill=_UNCLEAR),
            _text(_WIDTH - _RIGHT, bottom + 18, "better →", anchor="end", fill=_UNCLEAR),
            _text(_LEFT, bottom + 18, "← worse", fill=_UNCLEAR),
            "</svg>",
        ]
    )


def _shares(gain: Gain) -> tuple[float, float, float]:
    scale = 100 / abs(gain.champion) if gain.champion else 100.0
    return scale * gain.lower, scale * gain.gain, scale * gain.upper


def _row(gain: Gain, share: tuple[float, float, float], scale: Scale, top: float) -> str:
    low, middle, high = share
    color = _BETTER if low > 0 else _WORSE if high < 0 else _UNCLEAR
    arrow = "↑" if METRICS[gain.metric].higher_is_better else "↓"
    words = f"{middle:+.3g} % [{low:+.3g}, {high:+.3g}]".replace("-", wording.MINUS)
    line = top + 34
    return (
        _text(14, line + 4, f"{wording.metric(gain.metric)} {arrow}")
        + f'<line x1="{scale(low)}" x2="{scale(high)}" y1="{line}" y2="{line}" stroke="{color}" stroke-width="3"/>'
        + f'<rect x="{scale(middle) - 5:.2f}" y="{line - 5}" width="10" height="10" fill="{color}"/>'
        + _text(
            min(max(scale(middle), _LEFT + 80), _WIDTH - _RIGHT - 80), line - 12, words, anchor="middle", fill=color
        )
    )


def _text(x: float, y: float, words: str, *, anchor: str = "start", fill: str = "#1a1a1a", weight: str = "400") -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{fill}" '
        f'stroke="#ffffff" stroke-width="4" paint-order="stroke" font-weight="{weight}">{escape(words)}</text>'
    )
