"""A Slurm cluster for one measurement: brought up by root, measured from inside by its ordinary user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.samples import PeerMissing

HERE = Path(__file__).parent


def measured(module: str, *asked: Any, **settings: Any) -> Any:
    """What a module of this package prints as JSON when the ordinary user of a fresh cluster runs it.

    Args:
        module: Its name; its arguments are the path of the cluster profile and the values of `asked`, as JSON.
        asked: What JSON can hold.
        settings: Of the cluster.

    Raises:
        PeerMissing: No cluster can come up here.
        RuntimeError: The module failed.
    """
    from minicluster import Cluster, Refused, Settings

    cluster = Cluster(settings=Settings(name=f"bench-{os.getpid()}", **settings))
    try:
        cluster.up()
    except Refused as reason:
        raise PeerMissing(f"no Slurm cluster: {reason}") from reason
    try:
        return _run(cluster, module, asked)
    finally:
        cluster.down()


def _run(cluster: Any, module: str, asked: tuple[Any, ...]) -> Any:
    # The clone may lie where only root looks.
    folder = cluster.state / "bench"
    shutil.copytree(HERE, folder / "bench", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    command = [str(cluster.python), "-m", f"bench.{module}", str(cluster.profile), *map(json.dumps, asked)]
    single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(folder)}
    done = cluster.run(command, env=single, stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
    if done.returncode:
        raise RuntimeError(f"bench.{module} ended with exit code {done.returncode}; its words are above")
    return json.loads(done.stdout.splitlines()[-1])
