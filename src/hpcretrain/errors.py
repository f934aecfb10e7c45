"""Errors that hpcretrain raises on purpose.

Each carries the exit code that the command line ends with: 2 for bad input, 3 for an outside system that failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal


class HpcretrainError(Exception):
    """The parent of every error that hpcretrain raises on purpose."""

    exit_code = 3


class InputError(HpcretrainError):
    """The user's configuration, data or arguments cannot be used; nothing was changed.

    `problems` holds one sentence for each thing that is wrong, so that all can be mended at once.
    """

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class HomeInUse(InputError):
    """Another process is at work in a home."""


class PeekError(HpcretrainError):
    """Something asked for a row or a label that is not yet known at the time of the view."""


class LifeCycleError(HpcretrainError):
    """A record does not follow from the records that it answers; nothing was written."""


class LedgerError(HpcretrainError):
    """The ledger cannot be read or written, or does not agree with what is being replayed."""


class LedgerDamagedError(LedgerError):
    """The ledger is not what was written; it will not mend itself."""


class TableChangedError(HpcretrainError):
    """The rows that a training under way was ordered on are not what they were; nothing was written."""


class ModelFileError(HpcretrainError):
    """A model's files are missing, differ from their digest, or cannot be loaded."""


class SlurmError(HpcretrainError):
    """A command of Slurm failed.

    `trouble` is "refused" (it will be refused again), "full" (refused, until other jobs end) or "unreachable" (nobody
    knows whether it was done).
    """

    def __init__(self, message: str, trouble: Literal["refused", "full", "unreachable"]) -> None:
        self.trouble = trouble
        super().__init__(message)


class PrefectError(HpcretrainError):
    """A Prefect server did not do what was asked of it; `again` says whether it may when asked again."""

    def __init__(self, message: str, *, again: bool) -> None:
        self.again = again
        super().__init__(message)


class SourceError(HpcretrainError):
    """A source of signals did not answer, or answered with an error."""


class SpoolError(HpcretrainError):
    """A file that the controller and the nodes share cannot be read or used."""


class TrainingError(HpcretrainError):
    """A training job ended without a model.

    `reason` is the same every time the same job fails the same way, so it can stand in the ledger; `log` is the end of
    what the job printed, for people.
    """

    def __init__(self, reason: str, log: str = "") -> None:
        self.reason = reason
        super().__init__(f"{reason}\n{log}" if log else reason)
