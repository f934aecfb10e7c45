"""Training on a real cluster by an ordinary user: submission, preemption, requeues, and the proof of where it ran."""

from __future__ import annotations

import signal
import time

import pytest
from site_for_tests import Site, until

SLOW = {"segments": 60, "sleep_s": 0.1}


def test_jobs_that_compete_are_one_array_and_each_ends_with_its_model(site: Site) -> None:
    training = site.training(jobs=[{"seed": seed} for seed in (1, 2, 3)], params={"segments": 4})
    told = training.start().end()
    assert len(told["digests"]) == 3
    assert told["calls"]["sbatch"] == 1
    assert len(set(training.numbers())) == 1


def test_each_job_is_proven_to_have_kept_off_inference_by_the_nodes_that_slurm_names(site: Site) -> None:
    training = site.training(params={"segments": 4})
    training.start().end()
    [intended], [proven] = training.notes("job_intended"), training.notes("job_proven")
    assert intended["reach"] == "none of the 4 nodes of partition train is among the 2 that serve"
    [node] = [life["slurm_nodelist"] for life in training.told("begun")]
    assert proven["reason"] == f"it ran on {node}; none of them serves"


@pytest.mark.parametrize("how", ["user signal", "no user signal", "no grace", "cancel"])
def test_a_preempted_job_goes_on_to_the_same_model(site: Site, undisturbed: str, how: str) -> None:
    before = site.cluster.settings
    site.cluster.reconfigure(
        user_signal=how != "no user signal",
        grace_s=0 if how == "no grace" else before.grace_s,
        preempt_mode="cancel" if how == "cancel" else "requeue",
    )
    training = site.training(params=SLOW).start()
    try:
        for lives in (1, 2):
            until(lambda lives=lives: len(training.told("begun")) == lives, because=f"{how}: life {lives}")  # type: ignore[misc]
            # The urgent jobs want whole nodes, all of them.
            blockers = list(site.fill("urgent", 3))
            until(lambda lives=lives: len(training.told("ended")) >= lives or how == "no grace")  # type: ignore[misc]
            assert blockers
        told = training.end()
    finally:
        site.cluster.reconfigure(
            user_signal=before.user_signal, grace_s=before.grace_s, preempt_mode=before.preempt_mode
        )
    assert told["digests"] == [undisturbed]
    heard = {end["signal"] for end in training.told("ended")} - {None}
    accounted = training.accounted()
    if how == "no grace":
        assert accounted["PREEMPTED"] == 2, "Slurm took it before it could requeue itself"
    else:
        assert heard == {signal.SIGTERM if how == "no user signal" else signal.SIGUSR2}
        assert accounted["FAILED" if how == "cancel" else "REQUEUED"] == 2
    assert training.fates() == [*(["interrupted"] * 2 if how == "cancel" else []), "finished"]


def test_a_preemption_while_the_interpreter_starts_is_an_interruption_and_no_failure(
    site: Site, undisturbed: str
) -> None:
    slow = site.folder / "slow_python"
    slow.write_text(f'#!/bin/bash\nsleep 3\nexec {site.cluster.python} "$@"\n')
    slow.chmod(0o755)
    training = site.training(params=SLOW, profile_changes={"environment": {"python": str(slow)}}).start()
    seen: list[str] = []

    def starts() -> set[str]:
        lines = site.cluster.ask("squeue", "-h", "-tRUNNING", "-OJobID,RestartCnt,Name:80").splitlines()
        return {" ".join(line.split()[:2]) for line in lines if f".{training.home.name}." in line}

    for lives in (1, 2, 3):
        until(lambda: starts().difference(seen), because=f"life {lives}")
        seen.extend(starts())
        # At any moment: before its step is there, while the interpreter starts, and after that.
        time.sleep(2 * (lives - 1))
        list(site.fill("urgent", 1))
        until(lambda: starts().isdisjoint(seen), because=f"life {lives} makes way")
    told = training.end()
    assert told["digests"] == [undisturbed]
    assert set(training.fates()) <= {"interrupted", "finished"}
    assert {end["signal"] for end in training.told("ended")} == {12, None}
