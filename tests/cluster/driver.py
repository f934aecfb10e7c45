"""A controller for tests: trains jobs of a slow recipe on Slurm and prints what came of them, as one JSON object.

It runs as the cluster's ordinary user, in a folder that holds this file, `jobs_for_tests.py` and `slow.py`:

    python driver.py '{"home": ..., "profile": ..., "jobs": [{"seed": 1, "class": "background"}], "params": {...}}'

Keys that may be left out: `rules` (of the policy's [jobs]), `profile_changes` (by section), `every_s` (how long a life
lasts on average, for the checkpoints' cadence). USR1 lets it cancel its own jobs.
"""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
from pathlib import Path
from typing import Any

from jobs_for_tests import CATEGORICAL, FrameTable, frame, job

from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.adapters.slurm import Slurm
from hpcretrain.adapters.slurm_jobs import SlurmJobs
from hpcretrain.adapters.slurm_spool import SlurmSpool, home_name
from hpcretrain.adapters.slurm_trainer import SlurmTrainer
from hpcretrain.adapters.spool import Spool, TrainerSettings
from hpcretrain.config.cluster import ClusterProfile, load_cluster
from hpcretrain.config.load import shipped_policy
from hpcretrain.errors import HpcretrainError, TrainingError
from hpcretrain.records import Job, PriorityClass


def changed(profile: ClusterProfile, changes: dict[str, Any]) -> ClusterProfile:
    """A profile with other values in some of its sections."""
    content = profile.model_dump()
    for section, values in changes.items():
        content[section] = {**content[section], **values}
    return ClusterProfile.model_validate(content)


def jobs_of(asked: dict[str, Any]) -> list[Job]:
    """The records of the jobs."""
    recipe = asked.get("recipe", "slow:SlowMean")
    return [
        dataclasses.replace(
            job(seed=each.get("seed", 1), recipe=recipe), priority_class=PriorityClass(each.get("class", "background"))
        )
        for each in asked["jobs"]
    ]


def main(asked: dict[str, Any]) -> dict[str, Any]:
    """Train, and tell."""
    home = Path(asked["home"])
    home.mkdir(exist_ok=True)
    profile = changed(load_cluster(Path(asked["profile"])), asked.get("profile_changes", {}))
    rules = shipped_policy().jobs.model_copy(update=asked.get("rules", {}))
    table = FrameTable(frame())
    ledger = FileLedger(home / "ledger.jsonl")
    slurm = Slurm(profile.commands)
    requeue = profile.preemption.requeue and profile.preemption.requeue_on_node
    shared = SlurmSpool(profile.spool.path, home_name(ledger, home.name), ledger, requeue=requeue)
    settings = TrainerSettings(
        asked.get("recipe", "slow:SlowMean"),
        asked.get("params", {}),
        asked.get("threads", 1),
        "binary",
        CATEGORICAL,
        Path.cwd(),
        asked.get("every_s", 3600.0),
    )
    spool = Spool(shared.root, home / "models", table, ledger, settings)
    tracker = SlurmJobs(slurm, profile, rules, shared, ledger)
    made = SlurmTrainer(
        spool,
        shared,
        tracker,
        ledger,
        settings.threads,
        lambda line: print(line, file=sys.stderr),
        outlook=lambda _: (),
    )
    # Whatever started the tests may have had interrupts ignored, and that is inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # As a controller does that needs the nodes for something else.
    signal.signal(signal.SIGUSR1, lambda *_: tracker.cancel(list(tracker.attempts)))
    told: dict[str, Any] = {"digests": [], "errors": [], "refused": None}
    try:
        for each in made.train([(order, table.rows()) for order in jobs_of(asked)]):
            told["errors" if isinstance(each, TrainingError) else "digests"].append(
                each.reason if isinstance(each, TrainingError) else each.model_digest
            )
    except HpcretrainError as error:
        told["refused"] = str(error)
    return {**told, "calls": slurm.calls}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))), flush=True)
