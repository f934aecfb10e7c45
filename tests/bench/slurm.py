"""What is measured on a Slurm cluster of this machine; each group on clusters of its own, by their ordinary user."""

from __future__ import annotations

from bench.samples import Measured, Samples
from bench.slurm_site import measured

GRACE_S = 5
"""GraceTime of the urgent starts."""

SLURMS_CRED_EXPIRE_S = 120
"""What Slurm sets by itself."""


def submissions(runs: int = 25, jobs: int = 1000) -> Measured:
    """Submission by hpcretrain, by `sbatch`, and by submitit."""
    found = measured("slurm_submissions", runs, jobs)
    return Measured(
        {
            "submit_vs_sbatch": Samples(found["ours"], found["sbatch"]),
            "submit_vs_submitit": Samples(found["ours"], found["submitit"]),
            "submit_batch_ms": Samples(found["batch_ms"]),
        }
    )


def urgent_starts(
    runs: int = 15, nodes: int = 1, schedulers: tuple[str, ...] = ("fast", "default"), *, native: bool = True
) -> Measured:
    """Urgent starts, with the minicluster's intervals of the scheduler and with Slurm's own.

    One node, since this machine would have no processor left for the urgent program beside several victims that train.
    """
    samples = {}
    for scheduler in schedulers:
        found = measured(
            "slurm_starts", runs, nodes, native, training_nodes=nodes, grace_s=GRACE_S, scheduler=scheduler
        )
        suffix = "" if scheduler == "fast" else f"_{scheduler}_intervals"
        samples[f"urgent_start_vs_idle{suffix}"] = Samples(found["ours"], found["idle"])
        samples[f"urgent_start_vs_grace{suffix}"] = Samples(found["ours"], found.get("stubborn", []))
    return Measured(samples)


def requeued(runs: int = 5, *, native: bool = True) -> Measured:
    """From freed capacity to a requeued victim at work."""
    settings = {"training_nodes": 1 + runs, "grace_s": 2, "cred_expire_s": SLURMS_CRED_EXPIRE_S}
    found = measured("slurm_requeued", runs, native, **settings)
    return Measured({"victim_eligible_s": Samples(found["ours"], found["slurm"])})


def lost_cpu(runs: int = 5, rows: int = 200_000, rounds: int = 1_000) -> Measured:
    """What a preemption costs a training."""
    found = measured("slurm_lost", runs, rows, rounds, training_nodes=2)
    return Measured({"preemption_cpu_lost": Samples(found["preempted"], found["undisturbed"])})


def tracking(windows: int = 5, window_s: float = 60, jobs: int = 1000, lasts_s: float = 15) -> Measured:
    """What it costs to track jobs."""
    found = measured("slurm_tracking", windows, window_s, jobs, lasts_s)
    return Measured(
        {
            "controller_cpu_share": Samples(found["cpu_share"]),
            "slurm_calls_per_hour": Samples(found["calls_per_hour"]),
        }
    )


def signals(runs: int = 60) -> Measured:
    """From a signal to an accepted submission."""
    return Measured({"signal_to_sbatch_ms": Samples(measured("slurm_signals", runs)["ms"])})
