"""Runs a program of the site's: without a shell, for so long, and with all that it started ended after it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence

_MOST_BYTES, _MOST_CHARACTERS = 100_000, 500


class ProgramError(Exception):
    """A program could not be run, took too long, or said that it failed; the text goes on from its name."""


def run(argv: Sequence[str], timeout_s: float, said: bytes = b"") -> bytes:
    """What a program prints.

    Args:
        argv: The program and its arguments.
        timeout_s: How long it may take.
        said: What it is told on standard input.

    Raises:
        ProgramError: It did not end well.
    """
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
    except (OSError, ValueError) as error:
        raise ProgramError(f"cannot be run: {getattr(error, 'strerror', None) or error}") from None
    try:
        out, err = process.communicate(said, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise ProgramError(f"took longer than {timeout_s:g} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                # What it was not told before it ended can be told no more.
                with contextlib.suppress(OSError):
                    stream.close()
    if process.returncode:
        raise ProgramError(f"ended with {process.returncode}: {_end(err)}")
    return out[:_MOST_BYTES]


def _end(text: bytes) -> str:
    lines = text.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:_MOST_CHARACTERS] if lines else "it printed nothing"
