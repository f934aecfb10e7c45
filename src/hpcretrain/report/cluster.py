"""What training on a cluster took: jobs, attempts, questions to Slurm, and the CPU time that made no model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

Notes = Sequence[Mapping[str, Any]]


def cluster_use(notes: Notes) -> dict[str, Any] | None:
    """What the notes of a home tell of its cluster; None where nothing was trained on one.

    Args:
        notes: All notes of the ledger, in order.
    """
    of: dict[str, list[Mapping[str, Any]]] = {}
    for note in notes:
        of.setdefault(note["event"], []).append(note)
    calls: Counter[str] = Counter()
    for note in of.get("slurm_calls", ()):
        calls.update(note["calls"])
    if not calls:
        return None
    submitted = of.get("job_submitted", ())
    jobs = {note["serves"] for note in submitted}
    finished = [note for note in of.get("job_finished", ()) if note["serves"] in jobs]
    last = {(note["serves"], note["attempt"]): note for note in of.get("job_ended", ())}
    ends = Counter(note["fate"] for note in last.values())
    used = math.fsum(note.get("lives_cpu_s", note["cpu_s"]) for note in finished)
    return {
        "jobs": len(jobs),
        "attempts": len(submitted),
        "ends": dict(sorted(ends.items())),
        "restarts": sum(note["restarts"] for note in last.values()),
        "duplicates": len(of.get("job_duplicate", ())),
        "calls": dict(sorted(calls.items())),
        "cpu_s": round(used, 3),
        "cpu_beside_models_s": round(max(0.0, used - math.fsum(note["cpu_s"] for note in finished)), 3),
    }


def cluster_line(use: Mapping[str, Any]) -> str:
    """The same in a line."""
    calls = ", ".join(f"{count} {name}" for name, count in use["calls"].items())
    again = f", requeued {use['restarts']} times" if use["restarts"] else ""
    duplicates = f", {use['duplicates']} duplicates canceled" if use["duplicates"] else ""
    return (
        f"Slurm: {use['jobs']} jobs in {use['attempts']} submissions{again}{duplicates}; CPU {use['cpu_s']:.3g} s, "
        f"{use['cpu_beside_models_s']:.3g} s of it beside the models; {sum(use['calls'].values())} calls ({calls})"
    )
