"""What Slurm made of a job: each attempt with its fate, where it ran, and the proof that it kept off what serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpcretrain.records import Candidate, Job, Record

Note = Mapping[str, Any]


def job_of(record: Record) -> str | None:
    """The job that a record is about: itself, or the one that trained the candidate."""
    if isinstance(record, Job):
        return record.id
    if isinstance(record, Candidate) and not record.members:
        return record.answers[0]
    return None


def attempts(notes: Sequence[Note], job: str | None) -> list[dict[str, Any]]:
    """The attempts at a job on Slurm, oldest first, by the ledger's notes; none where it was trained on one machine."""
    mine = [note for note in notes if note["serves"] == job]
    meant = {int(note["attempt"]): note for note in mine if note["event"] == "job_intended" and "name" in note}
    told: dict[str, dict[int, Note]] = {}
    for note in mine:
        if "attempt" in note and note["attempt"] is not None:
            told.setdefault(note["event"], {})[int(note["attempt"])] = note
    proven = next((note["reason"] for note in mine if note["event"] == "job_proven"), None)
    return [
        {
            "attempt": number,
            "class": note["class"],
            "memory_mb": note["memory_mb"],
            "time_limit_min": note["time_limit_min"],
            "intended_at": note["at"],
            "slurm_job": _of(told, "job_submitted", number, "slurm_job"),
            "fate": _of(told, "job_ended", number, "fate"),
            "why": _of(told, "job_ended", number, "why"),
            "restarts": _of(told, "job_ended", number, "restarts"),
            "ran_on": list((_of(told, "job_ended", number, "ran_on") or {}).values()),
            "duplicate": _of(told, "job_duplicate", number, "slurm_job"),
            "given_up": _of(told, "job_given_up", number, "reason"),
            "unproven": _of(told, "job_unproven", number, "reason"),
            "proven": proven if number == max(meant) else None,
        }
        for number, note in sorted(meant.items())
    ]


def lines(told: Sequence[Mapping[str, Any]]) -> list[str]:
    """The same in words."""
    if not told:
        return []
    shown = ["", "on Slurm"]
    for each in told:
        where = f" on {', '.join(dict.fromkeys(each['ran_on']))}" if each["ran_on"] else ""
        again = f", started again {each['restarts']} times" if each["restarts"] else ""
        number = f"job {each['slurm_job']}" if each["slurm_job"] is not None else "never known to Slurm"
        fate = f"{each['fate']}: {each['why']}" if each["fate"] else "no end is known"
        shown.append(f"  attempt {each['attempt']} ({each['class']}, {number}){where}{again}: {fate}")
        if each["duplicate"]:
            shown.append(f"    job {each['duplicate']} was one too many, and was canceled")
        shown += [f"    {word}: {each[key]}" for key, word in _WORDS.items() if each[key]]
    return shown


_WORDS = {"given_up": "given up", "unproven": "not used", "proven": "kept off inference"}


def _of(told: Mapping[str, Mapping[int, Note]], event: str, number: int, key: str) -> Any:
    return told.get(event, {}).get(number, {}).get(key)
