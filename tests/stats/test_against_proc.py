"""DeLong's test against pROC 1.18.0 (Robin et al. 2011, doi:10.1186/1471-2105-12-77).

recorded/delong.json, made by recorded/delong.R. Everything agrees to rounding (relative 1e-9), with and without ties:
both take the estimator of DeLong et al. (1988).
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from hpcretrain.stats.compare import compare
from hpcretrain.stats.metrics import measure

RECORDED = json.loads((Path(__file__).parent / "recorded" / "delong.json").read_text(encoding="utf-8"))
CASES = pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda case: case["name"])


def probabilities(values: list[float]) -> npt.NDArray[np.float64]:
    """Onto 0 to 1, which changes neither order nor ties."""
    array = np.array(values)
    return (array - array.min()) / np.ptp(array)


@CASES
def test_the_gain_of_auc_its_bound_and_its_p_are_those_of_proc(case: dict[str, Any]) -> None:
    y, old, new = case["y"], probabilities(case["old"]), probabilities(case["new"])
    result = compare("auc", y, old, new, alpha=0.05)
    assert result.old == pytest.approx(case["auc_old"], rel=1e-9)
    assert result.new == pytest.approx(case["auc_new"], rel=1e-9)
    assert result.gain == pytest.approx(case["auc_new"] - case["auc_old"], rel=1e-9)
    assert result.lower == pytest.approx(case["ci90"][0], rel=1e-9)
    assert result.p_value == pytest.approx(case["p_greater"], rel=1e-9)


@CASES
def test_the_other_way_round_agrees_too(case: dict[str, Any]) -> None:
    y, old, new = case["y"], probabilities(case["old"]), probabilities(case["new"])
    result = compare("auc", y, new, old, alpha=0.05)
    assert result.lower == pytest.approx(-case["ci90"][1], rel=1e-9)
    assert result.p_value == pytest.approx(case["p_less"], rel=1e-9)


@CASES
def test_the_standard_error_of_auc_is_that_of_proc(case: dict[str, Any]) -> None:
    for model in ("old", "new"):
        se = measure("auc", case["y"], probabilities(case[model])).se
        assert se == pytest.approx(math.sqrt(case[f"var_{model}"]), rel=1e-9)
