"""Submission to Slurm by hpcretrain, by raw `sbatch` and by submitit; run by a cluster's ordinary user.

`python -m bench.slurm_submissions PROFILE RUNS JOBS`. All jobs are held, so that no node starts one meanwhile.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from bench.slurm_home import AT, Home, job, with_options
from bench.slurm_programs import Raw

from hpcretrain.config.cluster import ClusterProfile, load_cluster
from hpcretrain.config.load import shipped_policy
from hpcretrain.policy.decide import Situation, decide
from hpcretrain.records import RULE_VERSION, Decision, Facts, Finding, Outcome, PriorityClass

URGENT = PriorityClass.URGENT
_FACTS = Facts(
    attended=False, training_rows=50_000, selection_rows=5_000, holdout_rows=5_000, fresh_rows=5_000, class_rows=1_000,
    passes=200,
)  # fmt: skip
_SITUATION = Situation(
    now=AT, batch=timedelta(days=1), last_run=None, rejections=0, looks=None, spent=(), facts=_FACTS,
    data=(Finding(check="schema", outcome=Outcome.PASS, reason="as it was"),),
    action=Finding(check="action", outcome=Outcome.PASS, reason="retraining helps"),
)  # fmt: skip


class LateClock:
    """Seconds as they pass, and an hour more before each submission: what Slurm said before has become too old."""

    def __init__(self) -> None:
        self.hours = 0

    def __call__(self) -> float:
        return time.monotonic() + 3600.0 * self.hours


class Ours:
    """Decides on one job and submits it."""

    def __init__(self, profile: ClusterProfile) -> None:
        self._clock = LateClock()
        self._policy = shipped_policy()
        self.home = Home(Path("ours").absolute(), profile, count=self._policy.training.pilot_rows, clock=self._clock)
        self._number = 0

    def submit(self) -> float:
        """Wall seconds of the decision, the intent, and the submission.

        As in the product, rows are written between decision and intent, which is not counted; meanwhile Slurm is asked
        whether inference is out of reach.
        """
        self._number += 1
        self._clock.hours += 1
        begun = time.perf_counter()
        decision = self._decision()
        self.home.ledger.append([decision])
        made = job(self._number, self.home.count, URGENT, decision.id, self._number)
        self.home.ledger.append([made])
        self.home.tracker.look_ahead()
        decided = time.perf_counter()
        task = self.home.prepared(made)
        ready = time.perf_counter()
        self.home.tracker.submit([task])
        return time.perf_counter() - ready + decided - begun

    def _decision(self) -> Decision:
        choice = decide(URGENT, _SITUATION, self._policy)
        return Decision(
            model="bench", at=AT, answers=(f"request-{self._number}",), action=choice.action, outcome=choice.outcome,
            priority_class=URGENT, cost_mrow_passes=choice.cost_mrow_passes, findings=choice.findings,
            policy_digest="", rule_version=RULE_VERSION, facts=_FACTS,
        )  # fmt: skip


class Submitit:
    """Submits a call by submitit's executor for Slurm, with the same resources."""

    def __init__(self, profile: ClusterProfile) -> None:
        import submitit

        wanted = profile.classes.urgent
        self._executor = submitit.AutoExecutor(Path("submitit").absolute(), cluster="slurm")
        self._executor.update_parameters(
            name="peer", timeout_min=wanted.time_limit_min, mem_gb=0.5, cpus_per_task=1,
            slurm_partition=wanted.partition, slurm_qos=wanted.qos, slurm_account=wanted.account,
            slurm_additional_parameters={"hold": True},
        )  # fmt: skip

    def submit(self) -> float:
        """Wall seconds of `submit`, of the second of two in a row: it lets 0.2 s pass between them."""
        self._executor.submit(time.sleep, 1)
        begun = time.perf_counter()
        self._executor.submit(time.sleep, 1)
        return time.perf_counter() - begun


def batch_ms(profile: ClusterProfile, number: int, jobs: int) -> float:
    """Milliseconds a job, where so many are submitted in one go from a new home. Rows and folders lie ready."""
    home = Home(Path(f"batch{number}").absolute(), profile)
    tasks = [home.prepared(each) for each in home.jobs(jobs, PriorityClass.BACKGROUND)]
    begun = time.perf_counter()
    home.tracker.submit(tasks)
    taken = time.perf_counter() - begun
    home.slurm.cancel({each.key: each.name for job in home.tracker.attempts.values() for each in job if each.key})
    return taken * 1000 / jobs


def main(arguments: Sequence[str]) -> dict[str, list[float]]:
    """Samples of each way, taken in turns."""
    site = with_options(load_cluster(Path(arguments[0])), "--hold")
    runs, jobs = map(json.loads, arguments[1:])
    raw, log = Raw(site, URGENT), Path("logs", "raw.txt").absolute()
    ways = {"ours": Ours(site).submit, "sbatch": lambda: raw.submit(log), "submitit": Submitit(site).submit}
    for warm in ways.values():
        warm()
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, way in ways.items():
            found[name].append(way())
    return {**found, "batch_ms": [batch_ms(site, number, jobs) for number in range(5)]}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))
