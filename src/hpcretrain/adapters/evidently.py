"""Reads the JSON of an Evidently report: that of 0.7, and the older one of 0.4 to 0.6."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hpcretrain.errors import InputError
from hpcretrain.evidence import Family, Measure


@dataclass(frozen=True)
class Drift:
    """How a column drifted: what its method gave, which is None where that is no effect, and then why."""

    column: str
    method: str
    value: float | None
    threshold: float | None
    lower_bound: float | None
    reason: str


@dataclass(frozen=True)
class Sizes:
    """Rows of current and reference data where they are known, and the most bins of a column."""

    rows: int | None
    reference_rows: int | None
    bins: int


_SAVE = "give what Evidently's `save_json` wrote"
_Z = 2.326
"""One-sided 99 %."""
_DISTANCES = {
    "psi": "psi",
    "wasserstein": "wasserstein",
    "wasserstein distance (normed)": "wasserstein",
    "jensenshannon": "jensenshannon",
    "jensen-shannon distance": "jensenshannon",
    "kl_div": "kl_div",
    "kullback-leibler divergence": "kl_div",
    "hellinger": "hellinger",
    "hellinger distance": "hellinger",
    "ed": "energy_distance",
    "energy-distance": "energy_distance",
}
_P_VALUES = {
    *("ks", "chisquare", "z", "anderson", "anderson-darling", "cramer_von_mises", "cramer-von mises", "es", "g_test"),
    *("epps-singleton", "fisher_exact", "fisher's exact test", "mannw", "mann-whitney u-rank test", "t_test", "tvd"),
    *("total-variation-distance", "empirical_mmd"),
}
# To a divergence that by chance alone is about a factor times (1/n + 1/m) chi-square of bins - 1 degrees of freedom
# (half the second derivative of its generator), and back. Evidently takes natural logarithms.
_CHANCE: Mapping[str, tuple[Callable[[float], float], float, Callable[[float], float]]] = {
    "psi": (lambda value: value, 1.0, lambda value: value),
    "kl_div": (lambda value: value, 0.5, lambda value: value),
    "jensenshannon": (lambda value: value**2, 0.125, math.sqrt),
    "hellinger": (lambda value: value**2, 0.125, math.sqrt),
}
_WASSERSTEIN_BY_CHANCE = 3.0
"""In sqrt(1/n + 1/m): the 99th percentile of the distance of equal samples over their sd lies from 2.6 (exponential,
normal) to 3.2 (lognormal, Student's t of three degrees of freedom)."""


def parse(text: str, sizes: Sizes) -> tuple[Drift, ...]:
    """The drift of each column that a report tells of, in order of columns.

    Raises:
        InputError: It is no report of a version that is known, or tells of no column's drift.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"this is no JSON, so no Evidently report: {error}; {_SAVE}"[:300]) from error
    metrics = content.get("metrics") if isinstance(content, dict) else None
    if not isinstance(metrics, list) or not all(isinstance(metric, dict) for metric in metrics):
        raise InputError(f"this is JSON, but no Evidently report: it has no list `metrics` of tables; {_SAVE}")
    read = _new if all("config" in metric for metric in metrics) else _old
    drifts = {}
    for number, metric in enumerate(metrics, start=1):
        try:
            for told in read(metric):
                drifts[told[0], told[1]] = _drift(*told, sizes)
        except KeyError as error:
            raise InputError(f"metric {number} of the report has no {error.args[0]!r}; {_SAVE}") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"metric {number} of the report cannot be read: {error}; {_SAVE}"[:300]) from error
    if not drifts:
        raise InputError("the report tells of no column's drift; add DataDriftPreset or ValueDrift")
    return tuple(drift for _, drift in sorted(drifts.items()))


def measures(
    drifts: Iterable[Drift], model: str, predictions: Collection[str], rows: int | None, at: datetime
) -> list[Measure]:
    """The drifts as signals; the columns among `predictions` are shifts of predictions."""
    return [
        Measure(
            model=model,
            family=Family.PREDICTION_SHIFT if drift.column in predictions else Family.INPUT_DRIFT,
            name=f"{drift.column}:{drift.method}",
            at=at,
            # An effect without a bound would have to count as none, and so would clear what was measured before.
            effect=None if drift.lower_bound is None else drift.value,
            lower_bound=drift.lower_bound,
            n=rows or 0,
            reference=None,
            reason=drift.reason,
        )
        for drift in drifts
    ]


def _new(metric: Mapping[str, Any]) -> Iterator[tuple[str, str, Any, Any]]:
    terms = metric["config"]
    if str(terms.get("type", "")).endswith(":ValueDrift"):
        yield str(terms["column"]), str(terms.get("method")), metric["value"], terms.get("threshold")


def _old(metric: Mapping[str, Any]) -> Iterator[tuple[str, str, Any, Any]]:
    result = metric["result"]
    if metric["metric"] == "DataDriftTable":
        columns = result["drift_by_columns"].values()
    elif metric["metric"] == "ColumnDriftMetric":
        columns = (result,)
    else:
        return
    for each in columns:
        yield str(each["column_name"]), str(each["stattest_name"]), each["drift_score"], each["stattest_threshold"]


def _drift(column: str, told: str, value: Any, threshold: Any, sizes: Sizes) -> Drift:
    limit = None if threshold is None else float(threshold)
    method = _DISTANCES.get(told.lower())
    if method is None:
        kind = (
            "a p-value, which says how surely and not how much" if _is_p_value(told) else "no effect size that is known"
        )
        why = f"{told} is {kind}: have the report use psi, wasserstein or jensenshannon"
        return Drift(column, told, None, limit, None, why)
    # A distance that could not be computed is written as NaN; null is the same.
    effect = math.nan if value is None else float(value)
    bound, why = _bound(column, method, effect, sizes)
    mark = "" if limit is None else f", Evidently's threshold {limit:g}"
    return Drift(column, method, effect, limit, bound, f"{method} {effect:.4g}{mark}{why}")


def _is_p_value(told: str) -> bool:
    return "p_value" in told or told.lower() in _P_VALUES


def _bound(column: str, method: str, effect: float, sizes: Sizes) -> tuple[float | None, str]:
    if not math.isfinite(effect):
        return effect, "; not finite: look into it"
    if effect < 0:
        raise ValueError(f"{method} of {column} is {effect:g}, and a distance is not below 0")
    if sizes.rows is None or sizes.reference_rows is None:
        return None, "; no lower bound without rows and reference_rows, which the report does not tell"
    spread = 1 / sizes.rows + 1 / sizes.reference_rows
    if method == "wasserstein":
        return max(effect - _WASSERSTEIN_BY_CHANCE * math.sqrt(spread), 0.0), ""
    if method not in _CHANCE:
        return None, f"; no lower bound is known for {method}"
    there, factor, back = _CHANCE[method]
    freedom = sizes.bins - 1
    chance = factor * spread * (freedom + _Z * math.sqrt(2 * freedom))
    return back(max(there(effect) - chance, 0.0)), ""
