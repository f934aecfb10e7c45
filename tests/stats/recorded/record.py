"""Record what others' drift measures, exact McNemar test and Page-Hinkley test say.

Writes drift.json, mcnemar.json and page_hinkley.json beside this file: `python record.py`, in an environment of its own
with the versions that README.md names.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from evidently.legacy.calculations.stattests import (
    jensenshannon_stat_test,
    psi_stat_test,
    wasserstein_stat_test,
)
from evidently.legacy.core import ColumnType
from nannyml.chunk import DefaultChunker
from nannyml.drift.univariate import FeatureType, MethodFactory
from nannyml.thresholds import ConstantThreshold
from river.drift import PageHinkley
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance
from statsmodels.stats.contingency_tables import mcnemar

HERE = Path(__file__).parent

COUNTS = [
    ([60, 40], [30, 70]),
    ([1000, 1000, 1000, 1000], [1030, 985, 1010, 975]),
    ([500, 300, 150, 40, 10], [200, 120, 70, 55, 55]),
    ([7, 3, 1], [2, 3, 9]),
    ([5000, 2500, 1250, 600, 300, 150, 80, 40, 20, 10], [50, 26, 12, 6, 3, 2, 1, 1, 1, 1]),
    ([400, 100, 0], [300, 100, 100]),
    ([10, 20, 0, 0], [0, 0, 30, 10]),
]


def write(name: str, content: dict[str, list[dict[str, Any]]], *packages: str) -> None:
    source = "; ".join(f"{package} {version(package)}" for package in packages)
    # One case a line.
    lists = [f'"{key}": [\n' + ",\n".join(map(json.dumps, cases)) + "\n]" for key, cases in content.items()]
    text = ",\n".join([f'"source": {json.dumps(source)}', *lists])
    (HERE / name).write_text("{\n" + text + "\n}\n", encoding="utf-8")


def cells(counts: list[int]) -> pd.Series:
    return pd.Series(np.repeat([f"c{place}" for place in range(len(counts))], counts), name="feature")


def by_evidently(test: Any, kind: ColumnType, reference: pd.Series, current: pd.Series) -> float:
    return float(test(reference, current, kind, None).drift_score)


def by_nannyml(method: str, kind: FeatureType, reference: pd.Series, current: pd.Series) -> float:
    fitted = MethodFactory.create(method, kind, chunker=DefaultChunker(), threshold=ConstantThreshold(0, 1))
    return float(fitted.fit(reference).calculate(current))


def categories(reference: list[int], current: list[int]) -> dict[str, Any]:
    both = cells(reference), cells(current)
    # Each count twice, and one more: the shares of counts to which half a count was added.
    halves = [cells([2 * count + 1 for count in counts]) for counts in (reference, current)]
    kind = ColumnType.Categorical
    return {
        "reference": reference,
        "current": current,
        "evidently_psi": by_evidently(psi_stat_test, kind, *both) if min(*reference, *current) else None,
        "evidently_psi_with_half_counts": by_evidently(psi_stat_test, kind, *halves),
        "evidently_jensenshannon_base_e": by_evidently(jensenshannon_stat_test, kind, *both),
        "nannyml_jensen_shannon": by_nannyml("jensen_shannon", FeatureType.CATEGORICAL, *both),
        "scipy_jensenshannon_base_2": float(jensenshannon(reference, current, base=2)),
    }


def numbers(name: str, reference: Any, current: Any) -> dict[str, Any]:
    both = [pd.Series(np.round(values, 3), name="feature") for values in (reference, current)]
    kind = ColumnType.Numerical
    deciles = np.unique(np.quantile(both[0], np.arange(1, 10) / 10)).tolist()
    clipped = [values.clip(deciles[0], deciles[-1]) for values in both]
    return {
        "name": name,
        "reference": both[0].tolist(),
        "current": both[1].tolist(),
        "evidently_psi": by_evidently(psi_stat_test, kind, *both),
        "evidently_jensenshannon_base_e": by_evidently(jensenshannon_stat_test, kind, *both),
        "evidently_wasserstein_over_sd": by_evidently(wasserstein_stat_test, kind, *both),
        "deciles": deciles,
        "evidently_wasserstein_over_sd_of_clipped": by_evidently(wasserstein_stat_test, kind, *clipped),
        "nannyml_jensen_shannon": by_nannyml("jensen_shannon", FeatureType.CONTINUOUS, *both),
        "nannyml_wasserstein": by_nannyml("wasserstein", FeatureType.CONTINUOUS, *both),
        "scipy_wasserstein": float(wasserstein_distance(*both)),
    }


def record_drift() -> None:
    rng = np.random.default_rng(20)
    samples = [
        numbers("beta, shifted", rng.beta(2, 2, 500), rng.beta(2.5, 2, 300)),
        numbers("beta, the same", rng.beta(2, 2, 500), rng.beta(2, 2, 300)),
        numbers("normal, wider", rng.normal(50, 10, 400), rng.normal(50, 14, 400)),
        numbers("lognormal, a heavy tail", rng.lognormal(0, 1, 500), rng.lognormal(0.3, 1, 500)),
        numbers("whole numbers", rng.poisson(4, 300), rng.poisson(5, 200)),
        numbers("far apart", rng.normal(0, 1, 200), rng.normal(8, 1, 200)),
    ]
    content = {"categories": [categories(*pair) for pair in COUNTS], "numbers": samples}
    write("drift.json", content, "evidently", "nannyml", "scipy", "numpy", "pandas")


def record_mcnemar() -> None:
    recorded = json.loads((HERE / "paired.json").read_text(encoding="utf-8"))["cases"]
    tables = [(case["wins"], case["losses"], case["n"]) for case in recorded]
    cases = [
        {"wins": w, "losses": x, "n": n, "p_two_sided": float(mcnemar([[n - w - x, w], [x, 0]], exact=True).pvalue)}
        for w, x, n in tables
    ]
    write("mcnemar.json", {"cases": cases}, "statsmodels")


def detections(values: list[float], slack: float, threshold: float) -> list[int]:
    # Without forgetting and from the first value on: the test as it was published.
    test = PageHinkley(min_instances=1, delta=slack, threshold=threshold, alpha=1.0, mode="up")
    found = []
    for place, value in enumerate(values):
        test.update(value)
        if test.drift_detected:
            found.append(place)
    return found


def record_page_hinkley() -> None:
    rng = np.random.default_rng(21)
    sequences = {
        "a step": [*rng.normal(0, 1, 60), *rng.normal(2, 1, 40)],
        "two steps": [*rng.normal(0, 1, 50), *rng.normal(1.5, 1, 50), *rng.normal(4, 1, 50)],
        "a slow rise": [*rng.normal(0, 1, 30), *(np.linspace(0, 4, 90) + rng.normal(0, 1, 90))],
        "no rise": rng.normal(0, 1, 150),
        "a fall": [*rng.normal(0, 1, 50), *rng.normal(-2, 1, 50)],
        "losses of a classifier": np.concatenate([rng.random(80) < 0.1, rng.random(80) < 0.35]).astype(float),
    }
    cases = []
    for name, sequence in sequences.items():
        values = [round(float(value), 6) for value in sequence]
        for slack, threshold in ((0.005, 5.0), (0.5, 4.0), (0.1, 10.0)):
            found = detections(values, slack, threshold)
            cases.append({"name": name, "slack": slack, "threshold": threshold, "detected": found, "values": values})
    write("page_hinkley.json", {"cases": cases}, "river")


if __name__ == "__main__":
    record_drift()
    record_mcnemar()
    record_page_hinkley()
