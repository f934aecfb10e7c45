"""Tuned search: which parameters of a recipe compete besides those in use, and which a search has found before.

All trials of a search are drawn before the first is trained, so that they run at once: by a Latin hypercube, which
spreads few trials over each parameter's whole range (McKay, Beckman & Conover 1979, Technometrics 21(2), 239-245).
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from hpcretrain.canonical import canonical
from hpcretrain.policy.types.search import Dimension, Value

Space = Mapping[str, Dimension]


def trials(space: Space, count: int, seed: int) -> list[dict[str, Value]]:
    """Values to try, at most `count` times: once each, though the space may hold fewer.

    Args:
        space: What may be tried, by parameter.
        count: How many trials.
        seed: The same seed draws the same.
    """
    random = np.random.default_rng(seed)
    shares = {name: (random.permutation(count) + random.random(count)) / count for name in sorted(space)}
    drawn = [{name: space[name].at(float(shares[name][each])) for name in shares} for each in range(count)]
    return list({canonical(each): each for each in drawn}.values())


def found(space: Space, served: Mapping[str, str]) -> dict[str, Value]:
    """What an earlier search has found: the values that what serves was trained with, as far as they lie in the space.

    Args:
        space: What may be tried, by parameter.
        served: The parameters of what serves, each as canonical JSON.
    """
    told: dict[str, Value] = {name: json.loads(served[name]) for name in sorted(space) if name in served}
    return {name: value for name, value in told.items() if space[name].holds(value)}


def said(tried: Mapping[str, Value]) -> str:
    """What is tried, in words."""
    return ", ".join(f"{name}={canonical(value)}" for name, value in tried.items())
