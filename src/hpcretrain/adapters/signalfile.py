"""Files of signals: one JSON object a line."""

from __future__ import annotations

from pathlib import Path

from hpcretrain.adapters.inputfile import called, opened
from hpcretrain.errors import InputError
from hpcretrain.evidence import Measure
from hpcretrain.signallines import parse_signals


def read_signals(path: Path) -> list[Measure]:
    """The signals of a file, or of standard input for `-`, in its order.

    Raises:
        InputError: It cannot be read, or lines of it cannot; each with its number, and nothing of it counts.
    """
    try:
        with opened(path) as file:
            return parse_signals(file, called(path))
    except OSError as error:
        raise InputError(f"{called(path)}: cannot be read: {error.strerror or error}") from error
