"""Looks around on a node, and writes down what it sees. Run as a file, so that it works where nothing can be imported.

Needs nothing but Python's own library: `python probe.py FOLDER` writes FOLDER/seen.json, whole or not at all.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "pandas", "pyarrow", "lightgbm")
"""What training imports."""


def look() -> dict[str, Any]:
    """What is seen: node, clock, interpreter, packages, and whether Slurm may be called."""
    versions, errors = {}, {}
    for name in ("hpcretrain", *PACKAGES):
        try:
            importlib.import_module("hpcretrain.node.train" if name == "hpcretrain" else name)
            versions[name] = version(name)
        # A package that is broken on this node may raise anything; what it raised is the answer.
        except BaseException as error:
            errors[name] = f"{type(error).__name__}: {error}"
    return {
        "at": time.time(),
        "host": platform.node(),
        "node": os.environ.get("SLURMD_NODENAME", ""),
        "python": platform.python_version(),
        "executable": sys.executable,
        "versions": versions,
        "errors": errors,
        "scontrol": call_scontrol(),
    }


def version(name: str) -> str:
    """The version of an installed package, "" where its metadata is missing."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed(name)
    except PackageNotFoundError:
        return ""


def call_scontrol() -> str:
    """Why scontrol cannot be called here; "" where it can."""
    if shutil.which("scontrol") is None:
        return "there is no scontrol on PATH"
    command = ["scontrol", "show", "job", os.environ.get("SLURM_JOB_ID", "")]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"


def main(folder: Path) -> None:
    """Look around, and write it down."""
    os.umask(0o077)
    seen = look()
    fresh = folder / "seen.new"
    fresh.write_text(json.dumps(seen))
    fresh.replace(folder / "seen.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
