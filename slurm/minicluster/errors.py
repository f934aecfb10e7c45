"""What may go wrong, told apart by the exit code of the command line."""

from __future__ import annotations


class Refused(Exception):
    """This machine, folder or setting cannot be used, and nothing was changed (exit code 2)."""


class Failed(Exception):
    """A program of the cluster did not do what it should (exit code 3)."""
