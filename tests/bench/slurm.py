"""What is measured on a Slurm cluster of this machine; each group on a cluster of its own, by its ordinary user."""

from __future__ import annotations

from bench.samples import Measured, Samples
from bench.slurm_site import measured

SUBMISSIONS, JOBS_IN_ONE_GO = 25, 1000
STARTS, GRACE_S, NODES = 5, 5, 1


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


def starts(runs: int = STARTS) -> Measured:
    """Urgent starts, with the minicluster's intervals of the scheduler and with Slurm's own."""
    samples = {}
    for scheduler, suffix in (("fast", ""), ("default", "_default_intervals")):
        found = measured("slurm_starts", runs, NODES, training_nodes=NODES, grace_s=GRACE_S, scheduler=scheduler)
        samples[f"urgent_start_vs_idle{suffix}"] = Samples(found["ours"], found["idle"])
        samples[f"urgent_start_vs_grace{suffix}"] = Samples(found["ours"], found["stubborn"])
    return Measured(samples)
