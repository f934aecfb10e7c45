"""What `make bench` measures on a cluster, with the least of everything: that it runs, not how it comes out.

What Slurm's own preemption takes is left out: it takes long.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from bench import slurm
from bench.catalog import GROUPS
from bench.samples import Measured
from bench.slurm_site import run_on

from minicluster import Cluster

SMALL: dict[str, Callable[[], Measured]] = {
    "submissions": lambda: slurm.submissions(runs=1, jobs=3),
    "urgent_starts": lambda: slurm.urgent_starts(runs=1, nodes=2, schedulers=("fast",), native=False),
    "requeued": lambda: slurm.requeued(runs=1, native=False),
    "lost_cpu": lambda: slurm.lost_cpu(runs=1, rows=2_000, rounds=4_000),
    "signals": lambda: slurm.signals(runs=2),
    "tracking": lambda: slurm.tracking(windows=1, window_s=2, jobs=40, lasts_s=1),
}


@pytest.fixture(scope="module")
def small_cluster(variant: Callable[..., Cluster]) -> Cluster:
    """Two nodes and the shortest grace."""
    return variant(inference_nodes=1, training_nodes=2, grace_s=1)


@pytest.mark.parametrize("group", SMALL)
def test_a_group_on_a_cluster_gives_samples_of_its_benchmarks(
    group: str, small_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_the_same_cluster(module: str, *asked: Any, **settings: Any) -> Any:
        return run_on(small_cluster, module, *asked)

    monkeypatch.setattr(slurm, "measured", on_the_same_cluster)
    found = SMALL[group]()
    benchmarks = next(each for each in GROUPS if each.name == group).benchmarks
    assert set(found.samples) == {each.name for each in benchmarks if not each.name.endswith("_default_intervals")}
    for samples in found.samples.values():
        assert all(math.isfinite(each) and each >= 0 for each in [*samples.ours, *samples.peer])
        assert samples.ours
    small_cluster.cancel_all()
