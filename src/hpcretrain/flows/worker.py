"""A Prefect worker whose runs begin in a fraction of a second: in forks of a process that has all imported."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from prefect.settings import PREFECT_WORKER_QUERY_SECONDS, temporary_settings
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

from hpcretrain.adapters.prefect import check_pool
from hpcretrain.errors import PrefectError
from hpcretrain.flows import begin, warm

QUERY_SECONDS = 0.5
_WARM_WITHIN_S = 120.0
_SOCKET = "HPCRETRAIN_WARM"


class WarmConfiguration(ProcessJobConfiguration):
    """Begins a run by `begin.py`, unless the deployment has a command of its own."""

    def prepare_for_flow_run(self, *args: Any, **kwargs: Any) -> None:
        """Fill in what begins the run."""
        if self.command is None and _SOCKET in os.environ:
            self.command = shlex.join([sys.executable, "-S", "-E", str(begin.__file__), os.environ[_SOCKET]])
        super().prepare_for_flow_run(*args, **kwargs)


class WarmWorker(ProcessWorker):
    """A process worker; any other one may work in the same pool."""

    job_configuration = WarmConfiguration

    @classmethod
    def __dispatch_key__(cls) -> str:
        # It works in pools of the usual type, whose own worker stays known.
        return "hpcretrain-warm"


def work(pool: str) -> None:
    """Work until ended by TERM or INT.

    Args:
        pool: The work pool.

    Raises:
        InputError: The pool was made for somebody else.
        PrefectError: The server does not answer, or the process that forks did not come up.
    """
    check_pool(pool)
    with tempfile.TemporaryDirectory(prefix="hpcretrain-") as folder:
        # Prefect works in /tmp/runner_storage otherwise, which the first of a machine's users to come has for himself.
        # Not by TMPDIR, which goes to runs and from there to Slurm jobs.
        tempfile.tempdir = folder
        place = Path(folder) / "warm"
        process = subprocess.Popen([sys.executable, "-m", warm.__name__, str(place)], stdin=subprocess.DEVNULL)
        try:
            _await(process, place)
            os.environ[_SOCKET] = str(place)
            with temporary_settings({PREFECT_WORKER_QUERY_SECONDS: QUERY_SECONDS}):
                asyncio.run(_work(pool))
        finally:
            process.kill()
            process.wait()


def _await(process: subprocess.Popen[bytes], place: Path) -> None:
    deadline = time.monotonic() + _WARM_WITHIN_S
    while not place.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise PrefectError("the process that runs are forked from did not come up", again=True)
        time.sleep(0.05)


async def _work(pool: str) -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await WarmWorker(work_pool_name=pool, create_pool_if_not_found=False).start()
    except asyncio.CancelledError:
        return
