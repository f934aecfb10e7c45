"""Profiles a large table on Slurm for tests, as the cluster's ordinary user, and prints what came of it as JSON.

    python profile_driver.py '{"home": ..., "profile": ..., "data": [...], "cells": 4000, "sleep_s": 1.0}'

Parts take `sleep_s` longer than they need, so that a test can meet a worker at work.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hpcretrain.adapters.dask import workers
from hpcretrain.adapters.prefect_server import start, stop
from hpcretrain.config.cluster import ClusterProfile, load_cluster
from hpcretrain.errors import HpcretrainError
from hpcretrain.largetable import planned, site_of


def profile_part(act: Callable[[Any], Any], sleep_s: float, argument: Any) -> Any:
    """What `act` gives, later; called as it is, so that Dask asks for as many workers."""
    time.sleep(sleep_s)
    return act(argument)


def changed(profile: ClusterProfile, asked: dict[str, Any]) -> ClusterProfile:
    """The profile of a site whose workers find this file, with other values where they are asked for."""
    content = profile.model_dump()
    content["environment"]["setup"] = (f"export PYTHONPATH={Path.cwd()}",)
    for section, values in asked.items():
        content[section] = {**content[section], **values}
    return ClusterProfile.model_validate(content)


def main(asked: dict[str, Any]) -> dict[str, Any]:
    """Profile, and tell."""
    profile = changed(load_cluster(Path(asked["profile"])), asked.get("profile_changes", {}))
    told: dict[str, Any] = {"counts": None, "refused": None, "lines": []}

    def tell(line: str) -> None:
        told["lines"].append(line)
        print(line, file=sys.stderr, flush=True)

    if asked.get("flow"):
        folder = Path(os.environ["PREFECT_HOME"])
        # Before Prefect is imported, which then reads there what it is to talk to.
        start(folder)
        try:
            from hpcretrain.flows.profile import profile as flow

            return dict(
                flow(data=asked["data"], home=asked["home"], cluster=asked["profile"], memory_mb=700, most_workers=3)
            )
        finally:
            stop(folder)
    try:
        with planned(asked["data"], asked["home"], spool=profile.spool.path, cells=asked.get("cells", 4000)) as (
            work,
            ledger,
        ):
            site = site_of(work, profile, memory_mb=asked.get("memory_mb", 700))
            with workers(site, asked.get("workers", 3), tell) as each:

                def slow(act: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
                    return each(functools.partial(profile_part, act, asked.get("sleep_s", 0.0)), arguments)

                told["counts"] = dataclasses.asdict(work.done_by(slow, ledger))
    except HpcretrainError as error:
        told["refused"] = str(error)
    return told


if __name__ == "__main__":
    sys.modules["profile_driver"] = sys.modules["__main__"]
    profile_part.__module__ = "profile_driver"
    print(json.dumps(main(json.loads(sys.argv[1]))), flush=True)
