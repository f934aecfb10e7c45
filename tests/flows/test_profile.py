"""The flow `profile`, where no Prefect server is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from lakes import frozen_home, lake
from prefect_server import SRC

from hpcretrain.largetable import profile_table

SITE = """\
name = "here"
spool.path = "{spool}"
inference.nodes = "infer[1-2]"
environment.python = "python3"
preemption = {{ grace_s = 10, signal = "USR2" }}
classes.urgent = {{ partition = "train", memory_mb = 500, time_limit_min = 30 }}
classes.standard = {{ partition = "train", memory_mb = 500, time_limit_min = 30 }}
classes.background = {{ partition = "train", memory_mb = 500, time_limit_min = 30 }}
"""
ASK = """\
import json, sys
from hpcretrain.flows.profile import profile
print(json.dumps(profile(data=sys.argv[3:], home=sys.argv[1], cluster=sys.argv[2])))
"""


def test_it_is_a_plain_function_that_starts_no_server(tmp_path: Path) -> None:
    home, files = frozen_home(tmp_path), lake(tmp_path / "lake", 2, 200)
    (tmp_path / "site.toml").write_text(SITE.format(spool=tmp_path / "spool"))
    known = profile_table(files, home)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(home), str(tmp_path / "site.toml"), *map(str, files)],
        env={**kept, "PREFECT_HOME": str(tmp_path / "prefect"), "PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["digest"] == known.digest
    assert "server" not in done.stderr
    assert not (tmp_path / "prefect" / "prefect.db").exists()
