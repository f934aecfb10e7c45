"""What git knows of files: the commit that is checked out where they lie, and whether they are as committed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

_PATIENCE_S = 10
# A hook or another tool may have set these for a repository of its own.
_ENVIRONMENT = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR")


def commit_of(files: Sequence[Path]) -> dict[str, str]:
    """The commit checked out in the folder of the first file, and whether what lies there is as committed.

    Args:
        files: Existing files, all in one work tree.

    Returns:
        `commit`: its hash, or "none: ..." with the reason; and, if there is one, `dirty`: "true" when a file under
        version control was changed since, or one of `files` is not under version control.
    """
    folder = files[0].resolve().parent
    try:
        commit = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}").strip()
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
        tracked = _git(folder, "ls-files", "-z", "--", *(str(file.resolve()) for file in files))
    except FileNotFoundError:
        return {"commit": "none: git is not installed"}
    except subprocess.TimeoutExpired:
        return {"commit": f"none: git gave no answer in {_PATIENCE_S} s"}
    except subprocess.CalledProcessError as error:
        told = " ".join(str(error.stderr).split()).removeprefix("fatal: ")
        return {"commit": f"none: {told[:100] or 'nothing is committed yet'}"}
    missing = len({file.resolve() for file in files}) - tracked.count("\0")
    return {"commit": commit, "dirty": "true" if changed or missing else "false"}


def _git(folder: Path, *arguments: str) -> str:
    # No locks and no monitor: somebody else's work tree is only looked at.
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]
    environment = {name: value for name, value in os.environ.items() if name not in _ENVIRONMENT}
    done = subprocess.run(
        command, env={**environment, "LC_ALL": "C"}, capture_output=True, text=True, check=True, timeout=_PATIENCE_S
    )
    return done.stdout
