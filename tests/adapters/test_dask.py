"""Workers of Dask: how they are asked for, and what they do when one of them dies."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("dask_jobqueue")

import dask
from distributed import Client, LocalCluster
from distributed.security import Security
from lakes import by_one_machine, frozen_home, lake

from hpcretrain.adapters.dask import SETTINGS, OnWorkers
from hpcretrain.adapters.dask_script import asked, options, script
from hpcretrain.config.cluster import ClusterProfile
from hpcretrain.errors import InputError, SlurmError
from hpcretrain.largetable import planned, profile_table

SITE = {
    "name": "here",
    "spool": {"path": "/shared"},
    "inference": {"partitions": ["inference"]},
    "environment": {"python": "/opt/env/bin/python", "setup": ["module purge"]},
    "preemption": {"grace_s": 30, "signal": "USR2"},
    "classes": {
        "urgent": {"partition": "urgent", "time_limit_min": 60},
        "standard": {"partition": "train", "time_limit_min": 60},
        "background": {
            "partition": "train", "qos": "low", "account": "ml", "memory_mb": 2000, "time_limit_min": 200,
            "options": ["--constraint=old"],
        },
    },
}  # fmt: skip

EXPECTED = """\
#!/bin/bash
umask 077
module purge
export OMP_NUM_THREADS=1
export OPENBLAS_NUM_THREADS=1
export DASK_DISTRIBUTED__WORKER__HTTP__ROUTES=[]
exec srun --ntasks=1 --export=ALL --unbuffered --input=none --quiet --cpus-per-task="$SLURM_CPUS_PER_TASK" \
/opt/env/bin/python -m distributed.cli.dask_worker tls://10.0.0.1:4000 --name w-1 --nthreads 1 --nworkers 1 \
--memory-limit 2000MiB --death-timeout 60 --lifetime 10800s --lifetime-stagger 600s --no-dashboard \
--dashboard-address 127.0.0.1:0 --tls-key /shared/x/.key
"""


def test_a_worker_asks_for_what_the_background_class_says_and_never_comes_back() -> None:
    site = ClusterProfile.model_validate(SITE)
    given = options(site, "name", asked(site, None), Path("/shared/50%"))
    assert given == [
        "--job-name=name", "--partition=train", "--qos=low", "--account=ml", "--nodes=1", "--ntasks=1",
        "--cpus-per-task=1", "--mem=2000M", "--time=200", "--chdir=/shared/50%", "--output=/shared/50%/logs/name.txt",
        "--open-mode=append", "--no-requeue", "--constraint=old", "--output=/shared/50%%/logs/%j.txt",
    ]  # fmt: skip
    assert asked(site, 512).memory_mb == 512


def test_the_script_of_a_worker_names_the_files_of_its_keys_and_holds_none() -> None:
    site = ClusterProfile.model_validate(SITE)
    made = script(
        site, Path("/shared/x"), "tls://10.0.0.1:4000", asked(site, None), "w-1", ["--tls-key", "/shared/x/.key"]
    )
    assert made == EXPECTED


def test_a_worker_that_dies_costs_nothing_but_time(tmp_path: Path) -> None:
    home = frozen_home(tmp_path)
    paths = lake(tmp_path / "lake", 3, 6_000, 10)
    expected = by_one_machine(home, paths)
    security = Security.temporary()
    local = LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", security=security, protocol="tls://"
    )
    told: list[str] = []
    with dask.config.set(SETTINGS), local as cluster, Client(cluster, set_as_default=False) as client:
        victims = iter(client.run(os.getpid).values())

        def tell(line: str) -> None:
            told.append(line)
            if len(told) == 1:
                os.kill(next(victims), signal.SIGKILL)
                time.sleep(0.5)

        each = OnWorkers(client, lambda: "", tell)

        def slowly(act: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
            def slow(argument: Any) -> Any:
                time.sleep(0.2)
                return act(argument)

            return each(slow, arguments)

        with planned(paths, home, cells=1000) as (work, ledger):
            assert work.done_by(slowly, ledger) == expected
    done, all_of_them = map(int, re.findall(r"(\d+) of (\d+)", told[0])[0])
    assert done < all_of_them


def test_a_part_that_ends_every_worker_is_an_error_and_not_for_ever() -> None:
    options = {"dashboard_address": "127.0.0.1:0", "scheduler_kwargs": {"allowed_failures": 1}}
    local = LocalCluster(n_workers=1, threads_per_worker=1, **options)
    with local as cluster, Client(cluster, set_as_default=False) as client:
        with pytest.raises(SlurmError, match="they may lack memory"):
            OnWorkers(client, lambda: "", lambda _: None)(lambda _: os._exit(1), [None])
        # distributed cannot close a worker that it is about to start again.
        client.wait_for_workers(1)


def test_a_profile_is_stored_once_and_noted_and_its_parts_are_gone(tmp_path: Path) -> None:
    home = frozen_home(tmp_path)
    paths = lake(tmp_path / "lake", 2, 3_000)
    expected = by_one_machine(home, paths)
    assert profile_table(paths, home) == expected
    (stored,) = (home / "profiles").glob("*.bin")
    made = stored.stat().st_mtime_ns
    assert stored.stat().st_mode & 0o777 == 0o600
    with planned(paths, home) as (work, ledger):
        (note,) = ledger.notes("profile_stored")
        assert (note["serves"], note["rows"], note["files"]) == (work.key, expected.rows, 2)
        assert [path.name[:8] for path in work.reading.folder.iterdir()] == ["contract"]
    assert profile_table(list(reversed(paths)), home) == expected
    assert stored.stat().st_mtime_ns == made


def test_a_file_that_was_written_anew_is_profiled_anew(tmp_path: Path) -> None:
    home = frozen_home(tmp_path)
    paths = lake(tmp_path / "lake", 2, 3_000)
    first = profile_table(paths, home)
    paths[1].write_bytes(paths[0].read_bytes())
    second = profile_table(paths, home)
    assert second.duplicates == first.duplicates // 2 + first.rows // 2
    assert len(list((home / "profiles").glob("*.bin"))) == 2


def test_two_profiles_for_one_home_are_not_made_at_a_time(tmp_path: Path) -> None:
    home = frozen_home(tmp_path)
    paths = lake(tmp_path / "lake", 1, 3_000)
    with planned(paths, home), pytest.raises(InputError, match="another process"):
        profile_table(paths, home)


def test_a_home_whose_reference_is_not_frozen_or_whose_terms_were_altered_is_refused(tmp_path: Path) -> None:
    home = frozen_home(tmp_path)
    paths = lake(tmp_path / "lake", 1, 3_000)
    configuration = home / "configuration.json"
    configuration.write_text(configuration.read_text().replace('"UTC"', '"Europe/Berlin"'))
    with pytest.raises(InputError, match="is not what the ledger was made under"):
        profile_table(paths, home)
    (home / "ledger.jsonl").unlink()
    (home / "anchor.json").unlink()
    with pytest.raises(InputError, match="no frozen reference"):
        profile_table(paths, home)
