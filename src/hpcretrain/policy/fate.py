"""What became of an attempt, from what the queue, accounting and the job itself say.

No witness is believed alone where another can say more: the queue forgets, accounting lags, and a job that is killed
writes nothing. What no witness tells stays unknown, and unknown is never success.
"""

from __future__ import annotations

from collections.abc import Mapping

from hpcretrain.witnesses import ALIVE, ENDED, Accounted, Fate, Marker, Witnesses

STATES: Mapping[str, Fate] = {
    # In the queue.
    "PENDING": Fate.WAITING,
    "REQUEUED": Fate.WAITING,
    "REQUEUE_FED": Fate.WAITING,
    "CONFIGURING": Fate.WAITING,
    "RESV_DEL_HOLD": Fate.HELD,
    "REQUEUE_HOLD": Fate.HELD,
    "SPECIAL_EXIT": Fate.HELD,
    # At work, or its nodes are not free of it yet.
    "RUNNING": Fate.RUNNING,
    "COMPLETING": Fate.RUNNING,
    "STAGE_OUT": Fate.RUNNING,
    "SIGNALING": Fate.RUNNING,
    "RESIZING": Fate.RUNNING,
    "SUSPENDED": Fate.RUNNING,
    "STOPPED": Fate.RUNNING,
    "EXPEDITING": Fate.RUNNING,
    "POWER_UP_NODE": Fate.WAITING,
    # Ended.
    "COMPLETED": Fate.FINISHED,
    "PREEMPTED": Fate.PREEMPTED,
    "TIMEOUT": Fate.TIMED_OUT,
    "DEADLINE": Fate.TIMED_OUT,
    "OUT_OF_MEMORY": Fate.OUT_OF_MEMORY,
    "NODE_FAIL": Fate.NODE_FAILED,
    "BOOT_FAIL": Fate.NODE_FAILED,
    "LAUNCH_FAILED": Fate.NODE_FAILED,
    "RECONFIG_FAIL": Fate.NODE_FAILED,
    "CANCELLED": Fate.CANCELLED,
    "REVOKED": Fate.CANCELLED,
    "FAILED": Fate.FAILED,
}
"""Every state of a job that Slurm has (squeue's "JOB STATE CODES", up to 25.05); any other is unknown."""

PATIENCE_S = 30.0
"""How long an attempt may be seen nowhere before it is lost: accounting lags. A wrong guess costs work, no more."""

GONE_AFTER_S = 10.0
"""The same for one that says itself that it ended, and for a submission that nobody confirmed."""

FILES_LAG_S = 5.0
"""How long after an end that Slurm names the job's own files may still come into sight on a shared file system."""

# Numbers on Linux; those of the machine that reads need not be those of the nodes.
_WARNINGS = {
    str(base + number): name for base in (0, 128) for number, name in ((10, "USR1"), (12, "USR2"), (15, "TERM"))
}

_BY_MARKER = {"interrupted": Fate.INTERRUPTED, "out_of_memory": Fate.OUT_OF_MEMORY, "outside": Fate.FAILED}
# Reasons with which a pending job stays until a person acts.
_HELD = ("JobHeldUser", "JobHeldAdmin", "DependencyNeverSatisfied")
# Slurm gave up starting it, and only an administrator may release it.
_GIVEN_UP = ("JobHoldMaxRequeue", "launch failed requeued held", "launch_failed_requeued_held")


def state_of(text: str) -> Fate:
    """The fate that a state names; commands add who canceled ("CANCELLED by 1000") or cut it short ("CANCELLED+")."""
    words = text.split()
    return STATES.get(words[0].rstrip("+"), Fate.UNKNOWN) if words else Fate.UNKNOWN


def fate(seen: Witnesses) -> tuple[Fate, str]:
    """What became of an attempt, and which witness says so, as a sentence."""
    if seen.marker.result:
        return Fate.FINISHED, "its result is in the spool"
    if seen.queued is not None:
        return _by_queue(seen)
    if not seen.queue_answered:
        return Fate.UNKNOWN, "Slurm does not answer"
    return _by_what_is_left(seen)


def after(before: Fate, now: Fate) -> Fate:
    """The fate to be kept when one follows another: what ended stays ended, and not knowing changes nothing.

    A life that ended goes on where Slurm requeues the job: a job in the queue is alive, whatever was said before. A
    result cannot be taken back.
    """
    if before is Fate.FINISHED or now is Fate.UNKNOWN:
        return before
    if before in ENDED and now not in ALIVE and now is not Fate.FINISHED and before is not Fate.LOST:
        return before
    return now


def _by_queue(seen: Witnesses) -> tuple[Fate, str]:
    queued = seen.queued
    assert queued is not None
    told = state_of(queued.state)
    words = f"squeue says {queued.state}" + (f" ({queued.reason})" if queued.reason not in ("", "None") else "")
    if told in (Fate.WAITING, Fate.HELD) and queued.reason.strip("()") in _GIVEN_UP:
        return Fate.NODE_FAILED, words
    if told is Fate.WAITING and queued.reason.strip("()") in _HELD:
        return Fate.HELD, words
    if told in ENDED:
        return _ended(told, words, seen)
    return told, words


def _by_what_is_left(seen: Witnesses) -> tuple[Fate, str]:
    told = state_of(seen.lives[-1].state) if seen.lives else Fate.UNKNOWN
    if told in ENDED:
        return _ended(told, f"sacct says {seen.lives[-1].state}", seen)
    # The queue is a newer witness than accounting, which may not have heard of the end yet, or never will: a slurmctld
    # that crashes forgets its last seconds.
    nowhere = f"squeue has not known it for {seen.silent_s:.0f} s"
    begun = seen.marker.begun
    soon = bool(seen.marker.ended) or not (seen.taken or begun)
    if seen.silent_s < (GONE_AFTER_S if soon else PATIENCE_S):
        return Fate.UNKNOWN, nowhere
    if own := _BY_MARKER.get(seen.marker.ended or ""):
        return own, f"{nowhere}, and it wrote that it ended: {_own(seen.marker)}"
    if not (seen.taken or begun):
        return Fate.UNTAKEN, nowhere
    if seen.has_accounting and not seen.accounting_answered:
        return Fate.UNKNOWN, f"{nowhere}, and sacct does not answer"
    return Fate.LOST, f"{nowhere}, and nobody else tells of it"


def _ended(told: Fate, words: str, seen: Witnesses) -> tuple[Fate, str]:
    """The fate behind an end that Slurm names; without a result it was no success, whatever its exit code."""
    if told not in (Fate.FINISHED, Fate.FAILED, Fate.CANCELLED):
        return told, words
    if memory := _memory(seen):
        return Fate.OUT_OF_MEMORY, f"{words}, and {memory}"
    if told is not Fate.CANCELLED and seen.ended_s < _files_lag_s(told, seen.marker):
        return Fate.UNKNOWN, f"{words}; what it wrote may still come into sight"
    if told is Fate.CANCELLED:
        return told, words
    if own := _BY_MARKER.get(seen.marker.ended or ""):
        return own, f"{words}, and it wrote that it ended: {_own(seen.marker)}"
    if warned := _warned_too_early(seen):
        return Fate.INTERRUPTED, f"{words}, by {warned}, before it had begun"
    return Fate.FAILED, f"{words}, and it left no result"


def _warned_too_early(seen: Witnesses) -> str | None:
    """The signal that ended a program which had not come to where it heeds signals, by the exit code of its job."""
    if not seen.lives or (seen.marker.begun and seen.marker.restart >= len(seen.lives) - 1):
        return None
    # A code and a signal; srun, and a shell with 128 added, make a code of the signal that ended the program.
    code, _, number = seen.lives[-1].exit_code.partition(":")
    return next((name for told in (number, code) if (name := _WARNINGS.get(told))), None)


def _files_lag_s(told: Fate, marker: Marker) -> float:
    if told is Fate.FINISHED or marker.ended in ("finished", "erred"):
        # It left its result, or its exit code and its own word would be lies.
        return PATIENCE_S
    return FILES_LAG_S if marker.ended is None else 0.0


def _memory(seen: Witnesses) -> str | None:
    """Who says that memory ran out; only with cgroups does Slurm give it a state of its own."""
    last: Accounted | None = seen.lives[-1] if seen.lives else None
    if last is not None and any(state_of(step) is Fate.OUT_OF_MEMORY for step in last.steps):
        return "one of its steps was OUT_OF_MEMORY"
    if last is not None and last.over_memory:
        return "accounting saw it use more memory than it had asked for"
    return "its log tells that it exceeded its memory" if seen.marker.log_tells_memory else None


def _own(marker: Marker) -> str:
    return f"{marker.ended} by {marker.signal}" if marker.signal else str(marker.ended)
