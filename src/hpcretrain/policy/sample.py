"""Which rows of a window a fit reads: a draw that depends on the rows' ages, the policy and a seed alone.

A window is a way to draw, so any recipe can be trained on it: "decayed" does by chance what weights would do. A row is
drawn with a chance that halves with each half-life of age (exponential forgetting: Klinkenberg 2004, Intelligent Data
Analysis 8(3), weights by age, section 3).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hpcretrain.policy.types import Training, WindowName

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


def within(ages: FloatArray, window: WindowName, training: Training) -> BoolArray:
    """Rows that lie in the window at all, shape (rows,).

    Args:
        ages: Seconds between each row and the end of the window, not increasing, shape (rows,).
        window: How to draw.
        training: The policy's rules of training.
    """
    if window != "recent" or not len(ages):
        return np.ones(len(ages), dtype=np.bool_)
    inside: BoolArray = ages <= training.recent_share * ages[0]
    return inside


def draw(ages: FloatArray, window: WindowName, most: int, seed: int, training: Training) -> BoolArray:
    """Rows that are drawn, shape (rows,): `most` at most, but for chance in a decayed window.

    Args:
        ages: Seconds between each row and the end of the window, not increasing, shape (rows,).
        window: How to draw.
        most: Rows that the fit may read.
        seed: The same seed draws the same rows.
        training: The policy's rules of training.
    """
    random = np.random.default_rng(seed)
    chosen = within(ages, window, training)
    if window == "decayed" and len(ages) and ages[0] > 0:
        chances = 0.5 ** (ages / (training.half_life_share * ages[0]))
        chances *= min(1.0, most / chances.sum())
        return np.asarray(random.random(len(ages)) < chances)
    candidates = np.flatnonzero(chosen)
    if len(candidates) > most:
        chosen[:] = False
        chosen[random.choice(candidates, most, replace=False)] = True
    return chosen


def enough_of_each(labels: FloatArray, task: str, each: int) -> int:
    """How many of the newest rows it takes for `each` of both classes; 0 for a regression, or if there are too few.

    Args:
        labels: The oldest first, shape (rows,).
        task: "binary" or "regression".
        each: Rows of each class.
    """
    if task != "binary":
        return 0
    places = [np.flatnonzero(labels[::-1] == kind) for kind in (0, 1)]
    return max(int(place[each - 1]) + 1 for place in places) if min(map(len, places)) >= each else 0
