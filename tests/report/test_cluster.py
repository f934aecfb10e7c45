"""What training on a cluster took, as the notes tell it."""

from __future__ import annotations

from typing import Any

from hpcretrain.report.cluster import cluster_line, cluster_use


def note(event: str, serves: str = "job-1", **facts: Any) -> dict[str, Any]:
    return {"event": event, "serves": serves, **facts}


NOTES = [
    note("job_submitted", attempt=1),
    note("job_ended", attempt=1, fate="lost", restarts=2),
    note("job_ended", attempt=1, fate="finished", restarts=2),
    note("job_duplicate", attempt=1),
    note("job_finished", attempt=1, cpu_s=2.0, lives_cpu_s=5.0),
    note("job_finished", "local", attempt=1, cpu_s=70.0, lives_cpu_s=70.0),
    note("slurm_calls", "home", calls={"sbatch": 1, "squeue": 3}),
    note("slurm_calls", "home", calls={"squeue": 4}),
]


def test_calls_of_all_runs_and_the_jobs_on_the_cluster_are_added_up() -> None:
    assert cluster_use(NOTES) == {
        "jobs": 1,
        "attempts": 1,
        "ends": {"finished": 1},
        "restarts": 2,
        "duplicates": 1,
        "calls": {"sbatch": 1, "squeue": 7},
        "cpu_s": 5.0,
        "cpu_beside_models_s": 3.0,
    }


def test_it_is_told_in_a_line() -> None:
    use = cluster_use(NOTES)
    assert use
    assert cluster_line(use) == (
        "Slurm: 1 jobs in 1 submissions, requeued 2 times, 1 duplicates canceled; CPU 5 s, 3 s of it beside the "
        "models; 8 calls (1 sbatch, 7 squeue)"
    )


def test_a_home_without_a_cluster_has_nothing_of_it() -> None:
    assert cluster_use([note("job_finished", attempt=1, cpu_s=1.0, lives_cpu_s=1.0)]) is None
