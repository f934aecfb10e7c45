"""PSI, Jensen-Shannon and Wasserstein distances against evidently 0.7.23, nannyml 0.13.1 and scipy 1.17.1.

recorded/drift.json, made by recorded/record.py. All are fed the same bins: categories, or the bins that the package
makes of the numbers. nannyml has no PSI.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from hpcretrain.stats.drift import jensen_shannon, psi, wasserstein

RECORDED = json.loads((Path(__file__).parent / "recorded" / "drift.json").read_text(encoding="utf-8"))
CATEGORIES = pytest.mark.parametrize("case", RECORDED["categories"], ids=lambda case: str(case["current"]))
NUMBERS = pytest.mark.parametrize("case", RECORDED["numbers"], ids=lambda case: case["name"])
OF_ONE_NAT = math.sqrt(math.log(2))
"""evidently takes the divergence to base e, whose root is this times the one to base 2."""

Counts = npt.NDArray[np.int64]


def raw_psi(reference: npt.ArrayLike, current: npt.ArrayLike) -> float:
    """What PSI comes to when the same shares are those of so many rows that half a count and chance are nothing."""
    return psi(np.multiply(reference, 1e12), np.multiply(current, 1e12), z=0).effect


def evidently_bins(case: dict[str, Any]) -> tuple[Counts, Counts]:
    """Sturges' bins of both samples together; values of their own where the reference has 20 of them or fewer."""
    reference, current = np.array(case["reference"]), np.array(case["current"])
    both = np.concatenate((reference, current))
    if len(np.unique(reference)) <= 20:
        values = np.unique(both)
        return (reference[:, None] == values).sum(axis=0), (current[:, None] == values).sum(axis=0)
    edges = np.histogram_bin_edges(both, bins="sturges")
    return np.histogram(reference, edges)[0], np.histogram(current, edges)[0]


def nannyml_bins(case: dict[str, Any]) -> tuple[Counts, Counts]:
    """Doane's bins of the reference, and one for what lies outside of them."""
    edges = np.histogram_bin_edges(np.array(case["reference"], dtype=np.float64), bins="doane")
    counts = [np.histogram(case[sample], edges)[0] for sample in ("reference", "current")]
    outside = [len(case[sample]) - count.sum() for sample, count in zip(("reference", "current"), counts, strict=True)]
    return np.append(counts[0], outside[0]), np.append(counts[1], outside[1])


# For an empty bin evidently puts a share of 0.0001, hpcretrain half a count: there they differ.
ALL_BINS_FILLED = [
    pytest.param(*bins, case["evidently_psi"], id=case["name"])
    for case in RECORDED["numbers"]
    if (bins := evidently_bins(case))[0].all() and bins[1].all()
] + [
    pytest.param(case["reference"], case["current"], case["evidently_psi"], id=str(case["current"]))
    for case in RECORDED["categories"]
    if case["evidently_psi"] is not None
]


@CATEGORIES
def test_psi_less_what_chance_makes_of_it_is_that_of_evidently_on_counts_with_half_a_count_more(
    case: dict[str, Any],
) -> None:
    reference, current = case["reference"], case["current"]
    chance = (len(reference) - 1) * (1 / sum(reference) + 1 / sum(current))
    expected = case["evidently_psi_with_half_counts"] - chance
    assert psi(reference, current, z=2.5).effect == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("reference", "current", "by_evidently"), ALL_BINS_FILLED)
def test_psi_of_shares_alone_is_that_of_evidently(reference: Counts, current: Counts, by_evidently: float) -> None:
    assert raw_psi(reference, current) == pytest.approx(by_evidently, rel=1e-9)


@CATEGORIES
def test_the_jensen_shannon_distance_of_counts_is_that_of_scipy_nannyml_and_evidently(case: dict[str, Any]) -> None:
    distance = jensen_shannon(case["reference"], case["current"])
    assert distance == pytest.approx(case["scipy_jensenshannon_base_2"], abs=1e-9)
    assert distance == pytest.approx(case["nannyml_jensen_shannon"], abs=1e-9)
    assert distance * OF_ONE_NAT == pytest.approx(case["evidently_jensenshannon_base_e"], abs=1e-9)


@NUMBERS
def test_the_jensen_shannon_distance_of_numbers_is_that_of_evidently_and_nannyml_in_their_bins(
    case: dict[str, Any],
) -> None:
    by_evidently = jensen_shannon(*evidently_bins(case)) * OF_ONE_NAT
    assert by_evidently == pytest.approx(case["evidently_jensenshannon_base_e"], abs=1e-9)
    assert jensen_shannon(*nannyml_bins(case)) == pytest.approx(case["nannyml_jensen_shannon"], abs=1e-9)


@NUMBERS
def test_with_a_bin_for_every_value_the_wasserstein_distance_is_exact(case: dict[str, Any]) -> None:
    values = np.unique(case["reference"] + case["current"])
    # A bin without width at each value, and an empty one between each and the next.
    edges = np.repeat(values, 2)
    counts = [np.zeros(len(edges) + 1), np.zeros(len(edges) + 1)]
    for sample, count in zip(("reference", "current"), counts, strict=True):
        count[1::2] = np.bincount(np.searchsorted(values, case[sample]), minlength=len(values))
    result, sd = wasserstein(edges, *counts), float(np.std(case["reference"]))
    for bound in (result.distance, result.lower, result.upper):
        assert bound == pytest.approx(case["evidently_wasserstein_over_sd"], rel=1e-9)
        assert bound * sd == pytest.approx(case["nannyml_wasserstein"], rel=1e-9)
        assert bound * sd == pytest.approx(case["scipy_wasserstein"], rel=1e-9)


@NUMBERS
def test_in_tenths_of_the_reference_the_wasserstein_distance_is_nearly_that_of_the_numbers_clipped_to_them(
    case: dict[str, Any],
) -> None:
    deciles = case["deciles"]
    counts = [
        np.bincount(np.searchsorted(deciles, case[sample], side="right"), minlength=len(deciles) + 1)
        for sample in ("reference", "current")
    ]
    result = wasserstein(deciles, *counts)
    # What is left is how values lie within the tenths; it is 0.03 at most here.
    assert result.distance == pytest.approx(case["evidently_wasserstein_over_sd_of_clipped"], abs=0.04)
