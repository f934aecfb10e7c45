"""An environment of its own for evidently, which needs an older pandas than hpcretrain."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bench.samples import PeerMissing

ROOT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).with_name("requirements-evidently.txt")


def interpreter(folder: Path = ROOT / ".venv-evidently", requirements: Path = REQUIREMENTS) -> Path:
    """The Python of the environment, which is made when it is not there or its requirements have changed.

    Raises:
        PeerMissing: It cannot be made.
    """
    python, stamp = folder / "bin" / "python", folder / "ready"
    wanted = requirements.read_text(encoding="utf-8")
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    print(f"making {folder.name}/", file=sys.stderr)
    install = ["-m", "pip", "install", "--no-input", "--quiet", "--disable-pip-version-check", "--requirement"]
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), *install, str(requirements)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PIP_USER": "0"})
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise PeerMissing(f"evidently cannot be installed: {lines[-1] if lines else 'pip said nothing'}")
    stamp.write_text(wanted, encoding="utf-8")
    return python
