"""Exact McNemar tests and Tango's intervals against R packages, statsmodels, and published examples.

recorded/paired.json (made by recorded/paired.R): base R's `binom.test`, and the intervals of PropCIs and
contingencytables, which search for them in steps of 1e-7 or so; hence 5e-7 here. recorded/mcnemar.json (made by
recorded/record.py): statsmodels. Published numbers agree to the digits that are printed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from hpcretrain.stats.compare import Comparison, compare, tango_lower

FOLDER = Path(__file__).parent / "recorded"
BY_R, BY_STATSMODELS = (
    json.loads((FOLDER / name).read_text(encoding="utf-8"))["cases"] for name in ("paired.json", "mcnemar.json")
)


def table(case: dict[str, Any]) -> str:
    return f"{case['wins']} and {case['losses']} of {case['n']}"


def compared(wins: int, losses: int, n: int, alpha: float = 0.05) -> Comparison:
    """Two models of which only the new one is right on `wins` rows, and only the old one on `losses`."""
    old = np.repeat([0.1, 0.9, 0.9], [wins, losses, n - wins - losses])
    new = np.repeat([0.9, 0.1, 0.9], [wins, losses, n - wins - losses])
    return compare("accuracy", np.ones(n), old, new, alpha=alpha)


@pytest.mark.parametrize("case", BY_R, ids=table)
def test_p_of_mcnemar_is_that_of_the_binomial_test_of_r(case: dict[str, Any]) -> None:
    wins, losses, n = case["wins"], case["losses"], case["n"]
    assert compared(wins, losses, n).p_value == pytest.approx(case["p_greater"], rel=1e-12)
    assert compared(losses, wins, n).p_value == pytest.approx(case["p_less"], rel=1e-12)


@pytest.mark.parametrize("case", BY_STATSMODELS, ids=table)
def test_twice_the_smaller_p_of_mcnemar_is_the_exact_one_of_statsmodels(case: dict[str, Any]) -> None:
    wins, losses, n = case["wins"], case["losses"], case["n"]
    smaller = min(compared(wins, losses, n).p_value, compared(losses, wins, n).p_value)
    assert min(2 * smaller, 1) == pytest.approx(case["p_two_sided"], rel=1e-12)


@pytest.mark.parametrize("package", ["PropCIs", "contingencytables"])
@pytest.mark.parametrize("case", BY_R, ids=table)
def test_both_limits_of_tango_are_those_of_two_r_packages(case: dict[str, Any], package: str) -> None:
    for interval in case["intervals"]:
        z = float(norm.ppf((1 + interval["level"]) / 2))
        lower, upper = interval[package]
        assert tango_lower(case["wins"], case["losses"], case["n"], z) == pytest.approx(lower, abs=5e-7)
        assert -tango_lower(case["losses"], case["wins"], case["n"], z) == pytest.approx(upper, abs=5e-7)


@pytest.mark.parametrize("case", BY_R, ids=table)
def test_the_bound_of_a_comparison_is_the_lower_limit_of_the_interval_with_twice_its_alpha(
    case: dict[str, Any],
) -> None:
    for interval in case["intervals"]:
        result = compared(case["wins"], case["losses"], case["n"], alpha=(1 - interval["level"]) / 2)
        assert result.lower == pytest.approx(interval["contingencytables"][0], abs=5e-7)


@pytest.mark.parametrize(
    ("wins", "losses", "n", "level", "lower", "upper", "digit"),
    [
        # Tango (1998), section 6.2, as its numbers are quoted by others: difficulties in sleeping, 32 pairs.
        (9, 3, 32, 0.95, -0.027, 0.390, 1e-3),
        # Tango (1998), section 6.1, quoted likewise: soft contact lenses, a cross-over trial; the lower limit alone.
        (0, 1, 44, 0.90, -0.096, None, 1e-3),
        # ratesci's vignette "Paired contrasts", row AS(Tango): airway hyper-responsiveness (Bentur et al. 2009), the
        # example of Fagerland, Lydersen & Laake (2014, doi:10.1002/sim.6148).
        (1, 7, 21, 0.95, -0.5172, -0.0260, 1e-4),
        # contingencytables' own tests, test-ch8.R: complete response (Cavo et al. 2012).
        (6, 16, 161, 0.95, -0.1240, -0.0054, 1e-4),
    ],
)
def test_tango_agrees_with_published_examples_to_the_last_digit(
    wins: int, losses: int, n: int, level: float, lower: float, upper: float | None, digit: float
) -> None:
    z = float(norm.ppf((1 + level) / 2))
    assert tango_lower(wins, losses, n, z) == pytest.approx(lower, abs=digit / 2)
    if upper is not None:
        assert -tango_lower(losses, wins, n, z) == pytest.approx(upper, abs=digit / 2)


def test_mcnemar_agrees_with_a_published_example_to_the_last_digit() -> None:
    # contingencytables' own tests, test-ch8.R: "The McNemar exact conditional test: P = 0.052479" (Cavo et al. 2012).
    assert 2 * compared(16, 6, 161).p_value == pytest.approx(0.052479, abs=5e-7)
