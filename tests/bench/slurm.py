"""What is measured on a Slurm cluster of this machine; each group on a cluster of its own, by its ordinary user."""

from __future__ import annotations

from bench.samples import Measured, Samples
from bench.slurm_site import measured

SUBMISSIONS, JOBS_IN_ONE_GO = 25, 1000


def submissions(runs: int = SUBMISSIONS, jobs: int = JOBS_IN_ONE_GO) -> Measured:
    """Submission by hpcretrain, by `sbatch`, and by submitit."""
    found = measured("slurm_submissions", runs, jobs)
    return Measured(
        {
            "submit_vs_sbatch": Samples(found["ours"], found["sbatch"]),
            "submit_vs_submitit": Samples(found["ours"], found["submitit"]),
            "submit_batch_ms": Samples(found["batch_ms"]),
        }
    )
