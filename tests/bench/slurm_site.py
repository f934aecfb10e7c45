"""A Slurm cluster for one measurement: brought up by root, measured from inside by its ordinary user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.samples import PeerMissing

from minicluster import Cluster, Refused, Settings

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
    cluster = Cluster(settings=Settings(name=f"bench-{os.getpid()}", **settings))
    try:
        cluster.up()
    except Refused as reason:
        raise PeerMissing(f"no Slurm cluster: {reason}") from reason
    try:
        return run_on(cluster, module, *asked)
    finally:
        cluster.down()


def run_on(cluster: Cluster, module: str, *asked: Any) -> Any:
    """The same on a cluster that is up."""
    # The clone may lie where only root looks.
    folder = cluster.state / "bench"
    shutil.copytree(HERE, folder / "bench", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    command = [str(cluster.python), "-m", f"bench.{module}", str(cluster.profile), *map(json.dumps, asked)]
    work = cluster.state / "home" / module
    cluster.run(["mkdir", "-p", str(work)], check=True)
    single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(folder)}
    told = ""
    with tempfile.TemporaryFile("w+") as printed:
        how = {**cluster.as_user(single), "cwd": work}
        with subprocess.Popen(command, stdout=printed, stderr=subprocess.PIPE, text=True, **how) as process:
            for line in process.stderr or ():
                sys.stderr.write(line)
                told = line.strip() or told
        if process.returncode:
            raise RuntimeError(f"bench.{module} ended with exit code {process.returncode}: {told}")
        printed.seek(0)
        return json.loads(printed.read())
