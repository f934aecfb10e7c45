"""`python -m hpcretrain` and `hpcretrain`: the command line as a process of its own."""

from __future__ import annotations

import sys

from hpcretrain.cli import main
from hpcretrain.node.lean import leave_out


def program() -> int:
    """Run the command that the process was started with; its exit code."""
    leave_out("sklearn")
    return main()


if __name__ == "__main__":
    sys.exit(program())
