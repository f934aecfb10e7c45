"""How long it takes to verify a large ledger: `python tests/bench/ledger.py`."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hpcretrain.adapters.ledger_rows import CHAINS, END, anchor_path, anchor_text, genesis, line, link
from hpcretrain.adapters.ledger_verify import verify
from hpcretrain.canonical import canonical, sha256
from hpcretrain.records import Advice, Assessment, Family, Finding, Outcome, PriorityClass, Record, Signal, Slice

ROWS = 1_000_000
RUNS = 3
AT = datetime(2024, 1, 1, tzinfo=UTC)
STEP = timedelta(hours=1)
SIGNALS = 20
_MARK = "0123456789abcdef" * 4


def verify_s(rows: int = ROWS, runs: int = RUNS) -> list[float]:
    """Seconds of each run over a ledger of so many rows, as batch after batch would fill it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.jsonl"
        _fill(path, rows)
        return [_verify(path, rows) for _ in range(runs)]


def _verify(path: Path, rows: int) -> float:
    begun = time.perf_counter()
    findings = verify(path)
    taken = time.perf_counter() - begun
    assert [each.outcome for each in findings] == [Outcome.PASS] * 2, findings
    assert sum(int(each.reason.split()[0]) for each in findings) == rows
    return taken


def _fill(path: Path, rows: int) -> None:
    heads = {chain: (0, genesis(chain)) for chain in CHAINS}
    with path.open("wb") as file:
        for number, (chain, kind, body) in enumerate(itertools.islice(_rows(), rows), start=1):
            seq, previous = heads[chain]
            name = f"{kind}-{sha256(body)[:16]}" if chain == "decisions" else kind
            heads[chain] = seq + 1, link(previous, seq + 1, name, body)
            file.write(line(chain, seq + 1, name, body, heads[chain][1]))
            if number % (SIGNALS + 3) == 0 or number == rows:
                file.write(END)
    anchor_path(path).write_text(anchor_text(heads, path.stat().st_size))


def _rows() -> Iterator[tuple[str, str, str]]:
    """The rows of one batch after the other: signals, their assessment, and two notes."""
    templates = [*(("decisions", each.kind, each.body) for each in _batch()), *_notes()]
    for number in itertools.count():
        mark = f"{number:064x}"
        for chain, kind, body in templates:
            yield chain, kind, body.replace(_MARK, mark)


def _batch() -> list[Record]:
    slot = Slice(AT, AT + STEP, 20_000, _MARK)
    findings = tuple(
        Finding(
            check=f"{family.value}.level",
            outcome=Outcome.PASS,
            reason=f"the level of {family.value} is below the one that asks for a retraining, as in the batch before",
            observed=0.123456789,
            limit=0.3,
        )
        for family in Family
    )
    signals = [
        Signal(
            model="orders",
            at=AT + STEP,
            answers=("release-0123456789abcdef",),
            family=Family.INPUT_DRIFT,
            name=f"feature_{number}.psi",
            slot=slot,
            effect=0.0123456789,
            lower_bound=0.00123456789,
            n=20_000,
            reference=0.0,
            unit="psi",
            finding=findings[0],
        )
        for number in range(SIGNALS)
    ]
    return [
        *signals,
        Assessment(
            model="orders",
            at=AT + STEP,
            # The mark makes each of them another, as their signals are.
            answers=(_MARK, *(signal.id for signal in signals)),
            score=123,
            decline=101,
            fresh=22,
            action=Advice.NOTHING,
            priority_class=PriorityClass.STANDARD,
            contributions={family.value: 10 for family in Family},
            levels={family.value: 0.123456789 for family in Family},
            findings=findings,
        ),
    ]


def _notes() -> list[tuple[str, str, str]]:
    stored = {"at": AT.isoformat(), "path": "profile.bin", "rows": 20_000, "serves": "2024", "sha256": _MARK}
    return [
        ("operations", "profile_stored", canonical(stored)),
        ("operations", "tick_done", canonical({"at": AT.isoformat(), "serves": "2024"})),
    ]


if __name__ == "__main__":
    print(f"{statistics.median(verify_s()):.1f} s")
