"""Sites that differ, limits of a site, and long trouble, on real clusters."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable

import pytest
from site_for_tests import Site, until

from minicluster import Cluster
from minicluster.refusals import no_cgroups

Make = Callable[..., Cluster]

SLOW = {"segments": 60, "sleep_s": 0.1}


def take_all(site: Site, seconds: float) -> None:
    """Have urgent jobs of somebody else take all training nodes, where there is no accounting and so no QOS."""
    for _ in range(site.cluster.settings.training_nodes):
        options = ["--parsable", "--partition=urgent", "--exclusive", "--output=/dev/null", f"--wrap=sleep {seconds}"]
        site.cluster.run(["sbatch", *options], capture_output=True, check=True)


def test_a_site_without_accounting_trains_and_proves(variant: Make) -> None:
    site = Site(variant(accounting=False, training_nodes=2, inference_nodes=1))
    training = site.training(params=SLOW).start()
    until(lambda: training.told("begun"))
    take_all(site, 3)
    told = training.end()
    assert len(told["digests"]) == 1
    assert training.fates() == ["finished"]
    assert len(training.told("begun")) == 2
    assert "sacct" not in told["calls"]
    [proven] = training.notes("job_proven")
    assert all(life["slurm_nodelist"] in proven["reason"] for life in training.told("begun"))


@pytest.mark.skipif(no_cgroups() is not None, reason=str(no_cgroups()))
def test_memory_that_ran_out_is_told_by_slurm_itself_where_it_has_cgroups(variant: Make) -> None:
    site = Site(variant(cgroups=True, training_nodes=1, inference_nodes=1))
    training = site.training(params={"segments": 30, "sleep_s": 0.1, "megabytes": 600})
    assert len(training.start().end()["digests"]) == 1
    assert training.fates() == ["out of memory", "finished"]
    until(lambda: "OUT_OF_ME" in site.cluster.ask("sacct", "-a", "-n", "-P", "-S", "now-1hour", "-o", "State"))


def test_a_node_that_comes_to_serve_while_the_job_waits_is_found_out_and_can_be_mended(
    site: Site, undisturbed: str
) -> None:
    ask = site.cluster.ask
    try:
        for number in (1, 2, 3, 4):
            ask("scontrol", "update", f"NodeName=train{number}", "State=DRAIN", "Reason=test")
        training = site.training(params=SLOW).start()
        until(training.numbers)
        # An operator moves a node, and forgets to take it out of the partition that trains.
        ask("scontrol", "update", "PartitionName=inference", "Nodes=infer[1-2],train3")
        ask("scontrol", "update", "NodeName=train3", "State=RESUME")
        refused = training.end()["refused"]
        assert "inference:after: it ran on train3, which serve; tell the cluster's operators" in refused
        assert "the same command, once the cause is mended, has it done again" in refused
        assert not training.notes("job_proven")
        again = training.start().end()["refused"]
        assert "inference:before: partition train reaches train3" in again
    finally:
        ask("scontrol", "update", "PartitionName=inference", "Nodes=infer[1-2]")
        for number in (1, 2, 4):
            ask("scontrol", "update", f"NodeName=train{number}", "State=RESUME")
    assert training.start().end()["digests"] == [undisturbed]
    [proven] = training.notes("job_proven")
    assert "none of them serves" in proven["reason"]


def test_five_preemptions_in_a_row_cost_a_job_five_starts_and_nothing_else(site: Site, undisturbed: str) -> None:
    training = site.training(params=SLOW).start()
    for lives in range(1, 6):
        until(lambda lives=lives: len(training.told("begun")) == lives, because=f"life {lives}")  # type: ignore[misc]
        list(site.fill("urgent", 1))
        until(lambda lives=lives: len(training.told("ended")) == lives)  # type: ignore[misc]
    told = training.end()
    assert told["digests"] == [undisturbed]
    assert training.fates() == ["finished"]
    assert [end["kind"] for end in training.told("ended")] == ["interrupted"] * 5 + ["finished"]
    done = [end["segments"] for end in training.told("ended")]
    assert done == sorted(done), "each life goes on where the one before was interrupted"


def test_an_orphan_that_sleeps_until_its_successor_has_published_changes_nothing(site: Site, undisturbed: str) -> None:
    training = site.training(params=SLOW, every_s=0.0).start()
    until(lambda: training.told("begun"))
    [begun] = training.told("begun")
    os.kill(begun["pid"], signal.SIGSTOP)
    lost = begun["slurm_nodelist"]
    site.cluster.kill(lost)
    site.cluster.ask("scontrol", "update", f"NodeName={lost}", "State=DOWN", "Reason=lost")
    try:
        assert training.end()["digests"] == [undisturbed]
    finally:
        os.kill(begun["pid"], signal.SIGCONT)
    orphan, *_ = training.lives()
    until(lambda: not os.path.exists(f"/proc/{begun['pid']}") or (orphan / "ended.json").exists())
    results = [path for path in training.lives() if (path / "result.json").exists()]
    assert orphan not in results
    assert len(results) == 1
    assert training.start().end()["digests"] == [undisturbed], "the same command finds the same model"
    site.cluster.start(lost)


def test_where_the_site_takes_two_jobs_at_a_time_all_are_done_in_the_end(site: Site) -> None:
    site.cluster.sacctmgr("modify qos background set MaxSubmitJobsPerUser=2")
    try:
        training = site.training(jobs=[{"seed": seed} for seed in range(5)], params={"segments": 4, "sleep_s": 0.1})
        told = training.start().end()
    finally:
        site.cluster.sacctmgr("modify qos background set MaxSubmitJobsPerUser=-1")
    assert len(told["digests"]) == 5
    assert told["calls"]["sbatch"] < 30
    assert set(training.fates()) == {"not taken", "finished"}
    until(lambda: training.accounted() == {"COMPLETED": 5})


def test_five_thousand_held_tasks_are_seen_by_one_query_in_about_a_second(site: Site) -> None:
    cluster = site.cluster
    options = ["--hold", "--array=0-4999", "--job-name=hpcretrain.home.many", "--qos=background", "--account=retrain"]
    held = ["sbatch", "--parsable", *options, "--partition=train", "--output=/dev/null", "--wrap=true"]
    number = cluster.run(held, capture_output=True, text=True, check=True).stdout.strip()
    ask = (
        "import json, sys, time\n"
        "from pathlib import Path\n"
        "from hpcretrain.adapters.slurm import Slurm\n"
        "from hpcretrain.config.cluster import load_cluster\n"
        "slurm = Slurm(load_cluster(Path(sys.argv[1])).commands)\n"
        "began = time.monotonic()\n"
        "lines = [line for line in slurm.queue() if line.name == 'hpcretrain.home.many']\n"
        "print(json.dumps([len(lines), time.monotonic() - began, slurm.calls]))\n"
    )
    done: subprocess.CompletedProcess[str] = cluster.run(
        [str(cluster.python), "-c", ask, str(cluster.profile)], capture_output=True, text=True, check=True
    )
    cluster.ask("scancel", number)
    count, seconds, calls = json.loads(done.stdout)
    print(f"one squeue over 5,000 tasks: {seconds:.3f} s")
    assert (count, calls) == (5000, {"squeue": 1})
    assert seconds < 5
