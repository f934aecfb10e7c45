"""The flow `profile`: a large table is profiled by workers on Slurm, which Prefect's Dask task runner brings up.

Prefect shows how far it is. Nothing on a node knows of Prefect: workers are given plain functions, so that none needs
its packages, its server or its secrets.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect_dask import DaskTaskRunner

from hpcretrain.adapters.dask import OnWorkers, Site, Workers, prepared, workers
from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.config.cluster import load_cluster
from hpcretrain.counts import BatchCounts
from hpcretrain.flows.names import home_id
from hpcretrain.flows.running import HomeFlow
from hpcretrain.largetable import Work, planned, site_of, window_of
from hpcretrain.report.markdown import escape, paragraphs, table


@HomeFlow
def profile(
    data: list[str],
    home: str,
    cluster: str,
    most_workers: int = 10,
    memory_mb: int | None = None,
    listen: str | None = None,
    start: str | None = None,
    end: str | None = None,
) -> dict[str, Any]:
    """Profile a table by the frozen contract of a home, and store the profile there, once.

    Args:
        data: Files of Parquet or CSV, on a file system that nodes share.
        home: A home whose reference is frozen.
        cluster: The cluster profile, a TOML file.
        most_workers: How many workers there may be at a time.
        memory_mb: Memory of a worker. Default: that of the background class.
        listen: Address by which nodes reach this machine. Default: the one from which it would send to them.
        start: Only rows from then on: ISO 8601 with an offset.
        end: Only rows before then.

    Returns:
        `profile` (the key under which the ledger's note has it), `digest` (of the counts), `rows` and `duplicates`.
    """
    site = load_cluster(Path(cluster))
    with planned(data, home, spool=site.spool.path, window=window_of(start, end)) as (work, ledger):
        counts = work.stored(ledger)
        if counts is None:
            place = site_of(work, site, memory_mb, listen)
            if FlowRunContext.get() is None:
                with workers(place, most_workers, lambda line: print(line, file=sys.stderr, flush=True)) as each:
                    counts = work.done_by(each, ledger)
            else:
                counts = _by_workers(work, ledger, place, most_workers)
        if FlowRunContext.get() is not None:
            _show(counts, Path(home))
        return {
            "profile": work.key,
            "digest": counts.digest,
            "rows": counts.rows,
            "duplicates": counts.duplicates,
        }


def _by_workers(work: Work, ledger: FileLedger, place: Site, most: int) -> BatchCounts:
    runner = DaskTaskRunner(
        cluster_class=Workers,
        cluster_kwargs={"site": place},
        adapt_kwargs={"minimum": 0, "maximum": most},
    )

    # A flow of its own, since a task runner cannot hang on the parameters of the flow that it serves.
    @flow(name="profile-parts", task_runner=runner)
    def parts() -> BatchCounts:
        context = FlowRunContext.get()
        assert context is not None
        client = context.task_runner.client  # type: ignore[attr-defined]
        return work.done_by(OnWorkers(client, client.cluster.tend, get_run_logger().info), ledger)

    with prepared(place):
        return parts()


def _show(counts: BatchCounts, home: Path) -> None:
    rows = [
        (escape(name), *(f"{number:,}" for number in (each.missing, each.wrong_type, each.infinite, each.unseen)))
        for name, each in counts.columns.items()
    ]
    headings = [("feature", False), *((words, True) for words in ("missing", "wrong type", "infinite", "unseen"))]
    told = f"{counts.rows:,} rows, {counts.duplicates:,} duplicates"
    # Not one of Prefect's tables, which show names given by users as they like.
    create_markdown_artifact(paragraphs(told, table(headings, rows)), key=f"profile-{home_id(home)}", description=told)
