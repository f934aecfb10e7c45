"""Tables of many files for tests, and homes whose reference is frozen."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pandas as pd
from tables import START, configure, orders

from hpcretrain.adapters.clock import VirtualClock
from hpcretrain.adapters.home import Home
from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.adapters.whylogs import WhylogsProfiles
from hpcretrain.config.load import load
from hpcretrain.desks import open_table
from hpcretrain.ports import BatchCounts
from hpcretrain.records import Baseline, Slice
from hpcretrain.wiring import CONFIGURATION

SLACK = 0.5


def frozen_home(folder: Path, rows: int = 6_000) -> Path:
    """A home whose reference, the first half of a small table of orders in `folder`, is frozen."""
    terms = load(configure(folder, orders(rows=rows)))
    clock = VirtualClock(terms.reference_until)
    table = open_table(terms, clock)
    with Home.open(folder / "home", {"model": terms.config.model.name}) as home:
        home.write(CONFIGURATION, terms.config_text)
        ledger = FileLedger(home.ledger)
        reference = table.rows(table.first_time, terms.reference_until)
        contract = WhylogsProfiles(table, home.profiles, ledger, terms.config.model.name, SLACK).freeze(reference)
        baseline = Baseline(
            model=terms.config.model.name, at=terms.reference_until, config_digest=terms.config_digest,
            policy_digest=terms.policy_digest, rule_version="1", contract_digest=contract,
            batch_s=86400, reference=Slice(reference.start, reference.end, len(reference), ""),
        )  # fmt: skip
        ledger.append([baseline])
        ledger.close()
    return folder / "home"


def lake(folder: Path, files: int, rows: int, groups: int = 1) -> list[Path]:
    """Files of Parquet with orders, of later months each, some cells of which the reference does not know."""
    folder.mkdir(exist_ok=True)
    paths = []
    for number in range(files):
        frame = orders(rows=rows, minutes=1, seed=100 + number)
        frame["time"] += pd.Timedelta(days=30 * number)
        frame.loc[::97, "amount"] = float("nan")
        frame.loc[::89, "country"] = f"new{number % 3}"
        frame = pd.concat([frame, frame.iloc[:5]])
        paths.append(folder / f"{number:03}.parquet")
        frame.to_parquet(paths[-1], row_group_size=-(-len(frame) // groups))
    return paths


def by_one_machine(home: Path, paths: list[Path]) -> BatchCounts:
    """The counts of all rows of files that one process reads as one table."""
    config = home.parent / "config.toml"
    terms = load(config)
    frame = pd.concat([pd.read_parquet(path) for path in paths])
    folder = home.parent / "together"
    folder.mkdir()
    reference = orders(rows=6_000)
    until = pd.Timestamp(terms.reference_until)
    # Kinds of columns are told by the reference, which is left out of the counts by its time.
    past = reference[reference["time"] < until].assign(time=lambda each: each["time"] - pd.Timedelta(days=4000))
    pd.concat([past, frame]).to_parquet(folder / "table.parquet")
    import dataclasses

    early = dataclasses.replace(
        terms, paths=(folder / "table.parquet",), reference_until=terms.reference_until - timedelta(days=4000)
    )
    last = frame["time"].max().to_pydatetime() + timedelta(microseconds=1)
    table = open_table(early, VirtualClock(last))
    ledger = FileLedger(home / "ledger.jsonl", read_only=True)

    class Silent:
        records = ledger.records
        notes = staticmethod(lambda event=None, serves=None: [])
        note = staticmethod(lambda event, serves, **facts: None)

    profiles = WhylogsProfiles(table, folder, Silent(), terms.config.model.name, SLACK)  # type: ignore[arg-type]
    for contract in (home / "profiles").glob("contract-*.json"):
        (folder / contract.name).write_bytes(contract.read_bytes())
    return profiles.counts(table.rows(START.to_pydatetime(), last))
