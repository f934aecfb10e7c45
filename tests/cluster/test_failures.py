"""What happens to a job on a real cluster is told apart by fact, and each kind of end has its own answer."""

from __future__ import annotations

import signal

import pytest
from site_for_tests import Site, until

SLOW = {"segments": 60, "sleep_s": 0.1}


def test_a_job_that_an_operator_requeues_goes_on(site: Site, undisturbed: str) -> None:
    training = site.training(params=SLOW).start()
    until(lambda: training.told("begun"))
    site.cluster.ask("scontrol", "requeue", str(training.numbers()[0]))
    assert training.end()["digests"] == [undisturbed]
    assert len(training.told("begun")) == 2
    assert training.fates() == ["finished"], "a requeued job is alive, and the same attempt"


def test_a_job_whose_node_is_lost_goes_on_elsewhere_while_its_orphan_cannot_win(site: Site) -> None:
    training = site.training(params={**SLOW, "segments": 150}, every_s=1.0).start()
    until(lambda: training.told("begun"))
    [begun] = training.told("begun")
    lost = begun["slurm_nodelist"]
    # The job's processes run on: only the daemon of the node is gone. Slurm would find out by itself in half a minute.
    site.cluster.kill(lost)
    site.cluster.ask("scontrol", "update", f"NodeName={lost}", "State=DOWN", "Reason=lost")
    assert len(training.end(180)["digests"]) == 1
    first, *_, last = training.told("begun")
    assert first["slurm_nodelist"] != last["slurm_nodelist"]
    [proven] = training.notes("job_proven")
    assert lost in proven["reason"], "the proof covers the life that was lost"
    assert {first["restart"], last["restart"]} == {0, 1}
    site.cluster.start(lost)


def test_a_job_that_somebody_cancels_is_not_submitted_again_until_the_same_command_is(
    site: Site, undisturbed: str
) -> None:
    training = site.training(params=SLOW).start()
    until(lambda: training.told("begun"))
    site.cluster.ask("scancel", str(training.numbers()[0]))
    told = training.end()
    assert training.fates() == ["canceled"]
    assert "retries:canceled: canceled by somebody else" in told["refused"]
    assert training.start().end()["digests"] == [undisturbed]
    assert training.told("ended")[0]["kind"] == "interrupted", "it left a checkpoint"


def test_tasks_that_somebody_cancels_before_they_start_stay_canceled(site: Site) -> None:
    list(site.fill("urgent", 60))
    training = site.training(jobs=[{"seed": 1}, {"seed": 2}], params=SLOW).start()
    until(lambda: training.queue() == ["PENDING", "PENDING"])
    until(training.numbers)
    [number] = set(training.numbers())
    # Slurm then tells of both in one line that names neither.
    site.cluster.ask("scancel", f"{number}_0", f"{number}_1")
    assert "canceled by somebody else" in training.end()["refused"]
    assert training.fates() == ["canceled", "canceled"]
    assert training.notes("job_duplicate") == []


def test_a_job_that_the_controller_itself_cancels_begins_anew_at_its_checkpoint(site: Site, undisturbed: str) -> None:
    training = site.training(params=SLOW).start()
    until(lambda: training.told("begun"))
    assert training.process is not None
    training.process.send_signal(signal.SIGUSR1)
    assert training.end()["digests"] == [undisturbed]
    assert training.fates() == ["canceled", "finished"]
    assert training.told("ended")[0]["kind"] == "interrupted"


def test_a_job_that_runs_out_of_memory_gets_more(site: Site) -> None:
    training = site.training(params={"segments": 30, "sleep_s": 0.1, "megabytes": 600})
    told = training.start().end()
    assert len(told["digests"]) == 1
    assert training.fates() == ["out of memory", "finished"]
    assert [note["memory_mb"] for note in training.notes("job_intended")] == [500, 750]


def test_memory_is_not_raised_beyond_what_the_profile_allows(site: Site) -> None:
    training = site.training(
        params={"segments": 30, "sleep_s": 0.1, "megabytes": 600}, profile_changes={"limits": {"most_memory_mb": 500}}
    )
    assert "500 MB were not enough; raise limits.most_memory_mb" in training.start().end()["refused"]


def test_an_error_of_the_recipe_is_final_and_the_same_as_anywhere(site: Site) -> None:
    training = site.training(params={"fail": "train"})
    assert training.start().end()["errors"] == ["ZeroDivisionError: the recipe divided by zero"]
    assert training.fates() == ["finished"], "the job did its work: it found out"


def test_a_job_that_is_killed_by_itself_is_tried_again_and_given_up_with_its_log(site: Site) -> None:
    training = site.training(params={"segments": 3, "fail": "die"})
    told = training.start().end()
    assert training.fates() == ["failed"] * 3
    assert "retries:failed: 3 attempts ended badly" in told["refused"]
    assert "life 3.0: begins" in told["refused"]


def test_a_job_killed_once_goes_on(site: Site) -> None:
    training = site.training(params={"segments": 3, "fail": "die once"}, every_s=0.0)
    assert len(training.start().end()["digests"]) == 1
    assert training.fates() == ["failed", "finished"]


def test_a_time_limit_is_met_with_a_checkpoint_and_another_start(site: Site) -> None:
    params = {"segments": 700, "sleep_s": 0.1}
    short = {"classes": {"background": {"partition": "train", "qos": "background", "account": "retrain",
                                        "memory_mb": 500, "time_limit_min": 1}},
             "preemption": {"lead_s": 10}}  # fmt: skip
    training = site.training(params=params, profile_changes=short)
    assert len(training.start().end(240)["digests"]) == 1
    first, *_ = training.told("ended")
    assert first["kind"] == "interrupted"
    assert len(training.told("begun")) >= 2


def test_where_no_checkpoint_is_reached_within_the_limit_more_time_is_asked_for(site: Site) -> None:
    # Slurm looks at time limits every half a minute or so.
    params = {"segments": 2, "sleep_s": 300.0}
    short = {"classes": {"background": {"partition": "train", "qos": "background", "account": "retrain",
                                        "memory_mb": 500, "time_limit_min": 1}},
             "preemption": {"signal": None, "lead_s": 10}, "limits": {"most_time_min": 1}}  # fmt: skip
    training = site.training(params=params, profile_changes=short)
    told = training.start().end(240)
    assert training.fates() == ["timed out"]
    assert "no checkpoint was reached in 1 min; raise limits.most_time_min" in told["refused"]


def test_a_queue_deadline_of_the_policy_withdraws_a_job(site: Site) -> None:
    list(site.fill("urgent", 30))
    training = site.training(params=SLOW, rules={"queue_deadline_h": 3 / 3600})
    told = training.start().end()
    assert "queue:deadline" in told["refused"]
    until(lambda: set(training.queue()) <= {"CANCELLED"})


@pytest.mark.parametrize("forbidden", ["requeue", "requeue_on_node", "signal"])
def test_a_site_that_forbids_something_still_trains(site: Site, undisturbed: str, forbidden: str) -> None:
    changes = {"preemption": {forbidden: None if forbidden == "signal" else False}}
    training = site.training(params=SLOW, profile_changes=changes).start()
    until(lambda: training.told("begun"))
    list(site.fill("urgent", 3))
    assert training.end()["digests"] == [undisturbed]
    assert len(training.told("begun")) >= 2
