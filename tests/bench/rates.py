"""Rates of errors and their power, from simulations under the shipped policy."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from bench.releases import Contest, promoted
from bench.samples import Aside, Measured, Samples
from bench.simulate import Change, World, asks

from hpcretrain.config.load import shipped_policy
from hpcretrain.policy.types import Policy

HISTORIES, RELEASES, ASIDE = 500, 2_000, 100
ROWS_A_DAY = (500, 5_000, 20_000)
CORRELATIONS = (0.5, 0.8, 0.95, 0.99)
BETTER = 0.02


def drift_rates(policy: Policy | None = None, histories: int = HISTORIES, aside: int = ASIDE) -> Measured:
    """`false_alarm_rate` and `drift_power`, and both with other numbers of rows a day."""
    policy = policy or shipped_policy()

    def both(rows: int, count: int) -> dict[str, list[float]]:
        world = World(rows=rows)
        return {
            "false_alarm_rate": _share(partial(stationary, world, policy), count, f"{rows} rows a day, stationary"),
            "drift_power": _share(partial(drifting, world, policy), count, f"{rows} rows a day, drifting"),
        }

    samples = {name: Samples(outcomes) for name, outcomes in both(World.rows, histories).items()}
    asides = [_aside(f"{rows:,} rows a day", both(rows, aside)) for rows in ROWS_A_DAY]
    return Measured(samples, asides)


def promotion_rates(policy: Policy | None = None, releases: int = RELEASES, aside: int = ASIDE) -> Measured:
    """`false_promotion_rate` and `promotion_power`, and both with other correlations of the two models."""
    gate = (policy or shipped_policy()).gate

    def both(correlation: float, count: int) -> dict[str, list[float]]:
        equal, better = (Contest(gain, correlation=correlation) for gain in (0.0, BETTER))
        where = f"scores correlated {correlation:g}"
        return {
            "false_promotion_rate": _share(partial(promoted, equal, gate), count, f"{where}, equal"),
            "promotion_power": _share(partial(promoted, better, gate), count, f"{where}, better"),
        }

    samples = {name: Samples(outcomes) for name, outcomes in both(Contest.correlation, releases).items()}
    asides = [_aside(f"scores correlated {other:g}", both(other, aside)) for other in CORRELATIONS]
    return Measured(samples, asides)


def stationary(world: World, policy: Policy, seed: int) -> bool:
    """Whether a history in which nothing changes asks for a retraining."""
    return asks(world, policy, None, seed)


def drifting(world: World, policy: Policy, seed: int) -> bool:
    """Whether a history with a change on a random day, from the 5th to the 15th, asks for a retraining."""
    day = int(np.random.default_rng([seed, 1]).integers(5, 16))
    return asks(world, policy, Change(day), seed)


def _share(outcome: Callable[[int], bool], count: int, what: str) -> list[float]:
    """Outcomes, 0 or 1, of the seeds from 0 on; on all processors, since only they count and not their time."""
    print(f"{what}: {count} simulations", file=sys.stderr)
    with ProcessPoolExecutor() as pool:
        found: Iterable[bool] = pool.map(outcome, range(count), chunksize=10)
        return [float(yes) for yes in found]


def _aside(condition: str, outcomes: dict[str, list[float]]) -> Aside:
    runs = len(next(iter(outcomes.values())))
    return Aside(condition, {name: sum(found) / len(found) for name, found in outcomes.items()}, runs)
