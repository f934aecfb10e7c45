"""What Slurm made of a job, from the ledger's notes, in words."""

from __future__ import annotations

from typing import Any

from hpcretrain.report.attempts import attempts, lines


def note(event: str, attempt: int | None, **facts: Any) -> dict[str, Any]:
    return {"event": event, "serves": "job-1", "at": "2026-01-01T00:00:00+00:00", "attempt": attempt, **facts}


def meant(attempt: int) -> dict[str, Any]:
    return note("job_intended", attempt, name=f"n{attempt}", memory_mb=500, time_limit_min=30, **{"class": "urgent"})


def ended(attempt: int, fate: str, ran_on: dict[str, str], restarts: int = 0) -> dict[str, Any]:
    return note("job_ended", attempt, fate=fate, why="squeue says so", ran_on=ran_on, restarts=restarts)


def test_each_attempt_is_told_with_its_fate_its_nodes_and_the_proof_with_the_last() -> None:
    notes = [
        meant(1), note("job_submitted", 1, slurm_job=7), ended(1, "lost", {"0": "n1"}),
        meant(2), note("job_submitted", 2, slurm_job=8), ended(2, "finished", {"0": "n1", "1": "n2"}, restarts=1),
        {**note("job_proven", None, reason="it ran on n1, n2; none of them serves")},
    ]  # fmt: skip
    told = attempts(notes, "job-1")
    assert [each["proven"] is not None for each in told] == [False, True]
    said = "\n".join(lines(told))
    assert "attempt 1 (urgent, job 7) on n1: lost: squeue says so" in said
    assert "attempt 2 (urgent, job 8) on n1, n2, started again 1 times: finished" in said
    assert "kept off inference: it ran on n1, n2" in said


def test_what_is_not_known_is_not_made_up() -> None:
    [told] = attempts([meant(1)], "job-1")
    assert (told["slurm_job"], told["fate"], told["ran_on"], told["proven"]) == (None, None, [], None)
    assert "never known to Slurm): no end is known" in "\n".join(lines([told]))


def test_a_submission_too_many_and_a_distrusted_result_are_told() -> None:
    notes = [meant(1), note("job_duplicate", 1, slurm_job="9"), note("job_unproven", 1, reason="it ran on infer1")]
    said = "\n".join(lines(attempts(notes, "job-1")))
    assert "job 9 was one too many" in said
    assert "not used: it ran on infer1" in said


def test_a_training_on_one_machine_and_another_job_have_no_attempts_on_slurm() -> None:
    local = {key: value for key, value in meant(1).items() if key != "name"}
    assert attempts([local], "job-1") == attempts([meant(1)], "job-2") == []
    assert lines([]) == []
