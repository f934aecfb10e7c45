"""Run benchmarks, each group in a process of its own, and write what came out.

`python -m bench.run [--only NAME,NAME]` writes `bench.json` and puts all raw samples into `bench-samples.json`, which
keeps those of groups that were not run; `python -m bench.run --docs` writes docs/benchmarks.md from the latter.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import place
from bench.benchmark import Benchmark, Group
from bench.catalog import BENCHMARKS, GROUPS
from bench.report import document
from bench.samples import Measured, Samples

ROOT = Path(__file__).parents[2]
RESULTS, RAW = "bench.json", "bench-samples.json"
DONE, FAILED, BAD_INPUT = 0, 1, 2

Measure = Callable[[str], Measured]


def main(arguments: Sequence[str], root: Path = ROOT, measure: Measure | None = None) -> int:
    """Do as the command line says; the exit code."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure hpcretrain.")
    parser.add_argument("--only", default="", help="names of benchmarks, with commas between; default: all")
    parser.add_argument("--docs", action="store_true", help="write docs/benchmarks.md from the last results")
    options = parser.parse_args(arguments)
    if options.docs:
        return write_document(root)
    wanted = {name.strip() for name in options.only.split(",") if name.strip()}
    if unknown := sorted(wanted - set(BENCHMARKS)):
        print(f"no benchmark {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return BAD_INPUT
    groups = [group for group in GROUPS if not wanted or wanted & {each.name for each in group.benchmarks}]
    command = f"make bench ONLY={','.join(sorted(wanted))}" if wanted else "make bench"
    return run(groups, command, root, measure or apart)


def run(groups: Sequence[Group], command: str, root: Path, measure: Measure) -> int:
    """Measure the groups one after the other and write the results; exit code 1 when one failed."""
    # The commit of the code that is measured, whatever is committed meanwhile.
    where = place.describe(root)
    outcomes: dict[str, Measured] = {}
    lines: list[dict[str, Any]] = []
    for number, group in enumerate(groups, start=1):
        names = ", ".join(benchmark.name for benchmark in group.benchmarks)
        print(f"[{number}/{len(groups)}] {names}", file=sys.stderr, flush=True)
        outcomes[group.name] = measure(group.name)
        for line in results(group, outcomes[group.name]):
            figure = f"no figure: {line['why']}" if line["value"] is None else f"{line['value']:.4g} {line['unit']}"
            print(f"    {line['name']}: {figure}", file=sys.stderr, flush=True)
            lines.append(line)
    how = {**where, "date": time.strftime("%Y-%m-%d"), "command": command}
    raw = {name: {**outcome.plain(), "run": how} for name, outcome in outcomes.items()}
    _write(root / RESULTS, {**where, "results": lines})
    _write(root / RAW, {**_kept(root), **raw})
    return FAILED if any(outcome.failed for outcome in outcomes.values()) else DONE


def _kept(root: Path) -> dict[str, Any]:
    """Raw samples of each group that was run before."""
    try:
        kept: dict[str, Any] = json.loads((root / RAW).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return kept


def results(group: Group, measured: Measured) -> list[dict[str, Any]]:
    """The group's lines of `bench.json`."""
    return [_result(each, measured.samples.get(each.name), measured.why) for each in group.benchmarks]


def _result(benchmark: Benchmark, samples: Samples | None, why: str) -> dict[str, Any]:
    ours, peer = (_typical(benchmark, found) for found in ((samples.ours, samples.peer) if samples else ((), ())))
    value = benchmark.figure(ours, peer)
    line = {
        "name": benchmark.name,
        "value": _or_null(value),
        "unit": benchmark.unit,
        "better": benchmark.better,
        "goal": benchmark.goal,
        "ours": _or_null(ours),
        "peer": _or_null(peer),
        "runs": len(samples.ours) if samples else 0,
    }
    return (
        line
        if math.isfinite(value)
        else {**line, "why": why or f"no samples of {'ours' if math.isnan(ours) else 'the peer'}"}
    )


def _typical(benchmark: Benchmark, samples: Sequence[float]) -> float:
    return benchmark.typical(samples) if samples else math.nan


def _or_null(value: float) -> float | None:
    return value if math.isfinite(value) else None


def apart(group: str) -> Measured:
    """Measure a group in a process of its own: what it imports, holds or breaks is no other benchmark's concern."""
    with tempfile.TemporaryDirectory(prefix="hpcretrain-bench-") as folder:
        file = Path(folder) / "measured.json"
        return finished([sys.executable, "-m", "bench.measure", group, str(file)], file)


def finished(command: Sequence[str], file: Path) -> Measured:
    """What a command wrote into a file; when it fails, its last line on standard error says why."""
    # One thread each, so that CPU seconds compare; and nobody phones home.
    settings = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "DO_NOT_TRACK": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **settings}) as process:
        last = ""
        for line in process.stderr or ():
            sys.stderr.write(line)
            last = line.strip() or last
    if process.returncode or not file.is_file():
        return Measured(why=last or f"it ended with exit code {process.returncode}", failed=True)
    return Measured.of(json.loads(file.read_text(encoding="utf-8")))


def write_document(root: Path) -> int:
    """Write docs/benchmarks.md from the last samples of every group; exit code 2 where one was never run, or failed."""
    raw = _kept(root)
    lacking = [group for group in GROUPS if group.name not in raw or raw[group.name]["failed"]]
    if lacking:
        names = [each.name for group in lacking for each in group.benchmarks]
        print(f"there are no figures of {', '.join(names)}: run `make bench` first", file=sys.stderr)
        return BAD_INPUT
    lines = [line for group in GROUPS for line in results(group, Measured.of(raw[group.name]))]
    (root / "docs" / "benchmarks.md").write_text(document(lines, raw), encoding="utf-8")
    return DONE


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
