"""Never twice, never lost: crashes of the controller and outages of Slurm's daemons, on a real cluster."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from site_for_tests import Site, Training, until

SLOW = {"segments": 60, "sleep_s": 0.1}
COMMANDS = ("sbatch", "squeue", "sacct", "scontrol", "scancel")


def wrapped(site: Site, name: str, sbatch: str) -> dict[str, str]:
    """A folder of Slurm's commands in which sbatch is another program, `{real}` being the real one."""
    folder = site.folder / name
    site.cluster.run(["mkdir", "-p", str(folder)], check=True)
    for command in COMMANDS:
        link = folder / command
        if not link.exists():
            link.symlink_to(f"/usr/bin/{command}")
    (folder / "sbatch").unlink()
    (folder / "sbatch").write_text("#!/bin/bash\n" + sbatch.replace("{real}", "/usr/bin/sbatch"))
    (folder / "sbatch").chmod(0o755)
    return {"folder": str(folder)}


def one_attempt_worked(training: Training) -> bool:
    """Whether exactly one life brought the result, and no other process trained."""
    return len(training.told("result")) == 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_controller_that_dies_at_submission_submits_once(site: Site, undisturbed: str, moment: str) -> None:
    once = site.folder / f"died-{moment}"
    body = {
        "before": f'if mkdir {once}; then kill -9 $PPID; exit 1; fi\nexec {{real}} "$@"\n',
        "after": f'{{real}} "$@"; if mkdir {once}; then kill -9 $PPID; fi\n',
    }[moment]
    training = site.training(params=SLOW, profile_changes={"commands": wrapped(site, moment, body)}).start()
    assert training.process is not None
    training.process.communicate(timeout=60)
    assert training.process.returncode == -9
    assert not training.notes("job_submitted")
    assert training.start().end()["digests"] == [undisturbed]
    assert one_attempt_worked(training)
    adopted = [note["adopted"] for note in training.notes("job_submitted")]
    # A new attempt where Slurm had taken nothing; the same one where it had.
    assert adopted == [moment == "after"]
    until(lambda: training.accounted() == {"COMPLETED": 1})


def test_a_submission_that_comes_late_is_canceled_and_told_of(site: Site) -> None:
    once, go = site.folder / "late-once", site.folder / "late-go"
    body = f"""
if mkdir {once} 2>/dev/null; then
    cat > {once}/script; while [ ! -e {go} ]; do sleep 0.05; done; exec {{real}} "$@" < {once}/script
fi
exec {{real}} "$@"
"""
    training = site.training(
        params={"segments": 200, "sleep_s": 0.1}, profile_changes={"commands": wrapped(site, "late", body)}
    )
    training.start()
    until(lambda: (once / "script").exists())
    time.sleep(0.2)
    training.kill()
    training.start()
    until(lambda: training.told("begun"), because="a new attempt begins, since nobody knows of the first")
    # Now the first submission comes through, while the second is at work.
    site.cluster.run(["touch", str(go)], check=True)
    until(lambda: len(training.queue()) == 2)
    assert len(training.end()["digests"]) == 1
    assert one_attempt_worked(training)
    [duplicate] = training.notes("job_duplicate")
    assert duplicate["attempt"] == 1
    assert {note["attempt"] for note in training.notes("job_finished")} == {2}
    # The late one may have been at its start when it was canceled, or found out by itself that it is superseded.
    until(lambda: sum(training.accounted().values()) == 2 and training.accounted()["COMPLETED"] == 1)
    assert set(training.accounted()) <= {"COMPLETED", "CANCELLED", "FAILED"}


def test_a_controller_that_dies_while_it_waits_finds_its_jobs_again(site: Site) -> None:
    training = site.training(jobs=[{"seed": seed} for seed in (1, 2, 3)], params=SLOW).start()
    until(lambda: len(training.told("begun")) == 3)
    training.kill()
    assert len(training.start().end()["digests"]) == 3
    assert len(training.notes("job_intended")) == 3
    until(lambda: training.accounted()["COMPLETED"] == 3)


def test_an_interrupted_controller_names_the_jobs_that_go_on_and_how_to_end_them(site: Site, undisturbed: str) -> None:
    training = site.training(params=SLOW).start()
    until(lambda: training.told("begun"))
    assert training.process is not None
    training.process.send_signal(signal.SIGINT)
    _, told = training.process.communicate(timeout=30)
    assert f"to end them: scancel {training.numbers()[0]}" in told
    assert training.start().end()["digests"] == [undisturbed]
    assert len(training.notes("job_intended")) == 1


def test_what_ended_while_nobody_looked_is_known_afterwards(site: Site, undisturbed: str) -> None:
    training = site.training(params=SLOW).start()
    until(lambda: training.told("begun"))
    training.kill()
    until(lambda: training.told("result"))
    told = training.start().end()
    assert told["digests"] == [undisturbed]
    assert "sbatch" not in told["calls"]


def test_jobs_go_on_while_slurmctld_is_down(site: Site) -> None:
    training = site.training(params={**SLOW, "segments": 120}).start()
    until(lambda: training.told("begun"))
    # A slurmctld that is killed forgets what it has not written to its disk, which it does every five seconds.
    time.sleep(6)
    site.cluster.kill("slurmctld")
    until(lambda: training.told("result"))
    site.cluster.start("slurmctld")
    assert len(training.end()["digests"]) == 1
    assert training.fates() == ["finished"]


def test_a_job_that_slurmctld_forgets_in_a_crash_is_done_nevertheless(site: Site) -> None:
    training = site.training(params={**SLOW, "segments": 150}).start()
    # Its own words on where it runs; without them there is no proof, once it is forgotten.
    until(lambda: [life for life in training.lives() if (life / "slurm.txt").exists()])
    site.cluster.kill("slurmctld")
    site.cluster.start("slurmctld")
    told = training.end(200)
    assert len(told["digests"]) == 1, told
    assert one_attempt_worked(training)


def test_a_submission_while_slurmctld_is_down_waits_for_it(site: Site, undisturbed: str) -> None:
    once = site.folder / "down-once"
    words = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)"
    body = f'if mkdir {once} 2>/dev/null; then echo "{words}" >&2; exit 1; fi\nexec {{real}} "$@"\n'
    training = site.training(params=SLOW, profile_changes={"commands": wrapped(site, "down", body)}).start()
    assert training.end()["digests"] == [undisturbed]
    assert training.fates() == ["not taken", "finished"]
    assert one_attempt_worked(training)


def test_accounting_that_is_down_stops_nothing(site: Site, undisturbed: str) -> None:
    site.cluster.kill("slurmdbd")
    try:
        training = site.training(params=SLOW).start()
        until(lambda: training.told("begun"))
        list(site.fill("urgent", 3))
        assert training.end()["digests"] == [undisturbed]
        assert len(training.told("begun")) == 2
    finally:
        site.cluster.start("slurmdbd")


def test_a_refusal_names_what_slurm_said_and_leaves_nothing_under_way(site: Site) -> None:
    wrong = {"background": {"partition": "train", "qos": "nonesuch", "account": "retrain", "time_limit_min": 10}}
    training = site.training(params=SLOW, profile_changes={"classes": wrong})
    assert "Invalid qos" in training.start().end()["refused"]
    assert training.queue() == []


def test_a_partition_that_reaches_inference_is_refused_before_anything_is_submitted(site: Site) -> None:
    training = site.training(params=SLOW, profile_changes={"inference": {"nodes": "infer[1-2],train3"}})
    told = training.start().end()
    assert "inference:before: partition train reaches train3" in told["refused"]
    assert training.notes("job_intended") == training.queue() == []


def test_nothing_of_the_controllers_environment_is_told_to_slurm_or_left_for_others(site: Site) -> None:
    training = site.training(params=SLOW).start(AWS_SECRET_ACCESS_KEY="hunter2", SBATCH_PARTITION="inference")
    until(lambda: training.told("begun"))
    number = str(training.numbers()[0])
    shown = site.cluster.ask("scontrol", "show", "job", number) + site.cluster.ask(
        "scontrol", "write", "batch_script", number, "-"
    )
    assert "hunter2" not in shown
    [life] = training.lives()
    pids = [training.told("begun")[0]["pid"]]
    assert all(b"hunter2" not in Path(f"/proc/{pid}/environ").read_bytes() for pid in pids)
    training.end()
    open_to_others = [path for path in [training.spool, *training.spool.rglob("*")] if path.lstat().st_mode & 0o077]
    assert open_to_others == []
    assert life
