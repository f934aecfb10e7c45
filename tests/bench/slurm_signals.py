"""From a signal to an accepted submission, by a running controller; run by a cluster's ordinary user.

`python -m bench.slurm_signals PROFILE RUNS`. The home is that of the flights of New York; each urgent request is ended
before the next comes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

from hpcretrain import cancel, request, start_live, tick
from hpcretrain.adapters import nycflights
from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.report.served import moment

_POLICY = (("cooldown_batches = 1", "cooldown_batches = 0"), ("fits_per_30d = 24.0", "fits_per_30d = 1e9"))


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    profile, runs = Path(arguments[0]), int(arguments[1])
    home = Path("signals").absolute()
    config = _configured(Path.cwd())
    start_live(config, home, profile, from_time=moment("2013-03-24"))
    command = [sys.executable, "-m", "hpcretrain", "controller", "--home", str(home)]
    with subprocess.Popen(command) as controller:
        try:
            while not _ready(home):
                time.sleep(1)
            print(json.dumps({"ms": [_once(home, number) for number in range(runs)]}), flush=True)
        finally:
            controller.terminate()


def _configured(folder: Path) -> Path:
    """The flights' configuration, with a policy that lets one urgent training follow the other."""
    config = nycflights.write(folder)
    policy = resources.files("hpcretrain.config").joinpath("standard.toml").read_text(encoding="utf-8")
    for before, after in _POLICY:
        assert before in policy
        policy = policy.replace(before, after)
    (folder / "policy.toml").write_text(policy, encoding="utf-8")
    config.write_text(config.read_text(encoding="utf-8") + '\n[policy]\nfile = "policy.toml"\n', encoding="utf-8")
    return config


def _ready(home: Path) -> bool:
    """Whether a model serves, and nothing else is due or under way."""
    if not (home / "controller.sock").exists():
        return False
    stand = tick(home)
    return stand["serves"] is not None and not stand["awaits"] and not stand["ticks"]


def _once(home: Path, number: int) -> float:
    """Milliseconds from the call of the library to the note that Slurm took its jobs."""
    begun = datetime.now(UTC)
    asked = request(home, "urgent", f"signal {number}", key=str(number))
    assert asked["done"], asked
    ledger = FileLedger(home / "ledger.jsonl", read_only=True)
    taken = datetime.fromisoformat(ledger.notes("job_submitted")[-1]["at"])
    ledger.close()
    assert taken > begun, asked
    cancel(home, asked["subject"], "the next one comes")
    time.sleep(0.5)
    return 1000 * (taken - begun).total_seconds()


if __name__ == "__main__":
    main(sys.argv[1:])
