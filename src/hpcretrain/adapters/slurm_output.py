"""Reads what Slurm's commands print. Pure; tested on recorded output of several versions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hpcretrain.witnesses import Accounted, Queued

SQUEUE_FIELDS = ("JobID", "ArrayJobID", "ArrayTaskID", "Name", "State", "RestartCnt", "NodeList", "Reason")
SACCT_FIELDS = ("JobIDRaw", "JobID", "JobName", "State", "ExitCode", "NodeList", "MaxRSS", "ReqMem", "CPUTimeRAW")

_MB = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024 * 1024}
NAMES = "hpcretrain."
"""What the name of every job of ours begins with."""

_NOBODY = ("", "(null)", "None assigned", "n/a", "N/A")


@dataclass(frozen=True)
class Key:
    """A job as it is found again: the identifier of the submission, and the place in its array, or None."""

    submission: int
    place: int | None = None

    def __str__(self) -> str:
        return str(self.submission) if self.place is None else f"{self.submission}_{self.place}"


@dataclass(frozen=True)
class QueueLine:
    """A line of `squeue`: which job, by which name it was submitted, and how it stands."""

    key: Key
    name: str
    seen: Queued


@dataclass(frozen=True)
class History:
    """All lives of one job that `sacct` tells of, oldest first, and the name by which it was submitted."""

    key: Key
    name: str
    lives: tuple[Accounted, ...]


def squeue_format() -> str:
    """What `squeue --Format` is asked for: whole fields, each followed by a bar."""
    return ",".join(f"{field}:|" for field in SQUEUE_FIELDS)


def read_queue(text: str) -> list[QueueLine]:
    """The lines of `squeue --noheader --array --Format=...`.

    Raises:
        ValueError: A line is not what was asked for.
    """
    lines = []
    for line in text.splitlines():
        # The reason comes last: a site may have put anything into it.
        fields = [field.strip() for field in line.split("|", len(SQUEUE_FIELDS) - 1)]
        if len(fields) != len(SQUEUE_FIELDS) or not fields[1].isdigit():
            _refuse_ours("squeue", line)
            continue
        _, array, place, name, state, restarts, nodes, reason = fields
        seen = Queued(
            state=state,
            reason=reason.rstrip("|").strip(),
            restarts=int(restarts) if restarts.isdigit() else 0,
            nodes="" if nodes in _NOBODY else nodes,
        )
        lines.append(QueueLine(Key(int(array), int(place) if place.isdigit() else None), name, seen))
    return lines


def read_accounting(text: str) -> list[History]:
    """The jobs in `sacct --duplicates --parsable2 --noheader`, in order of their first line.

    Raises:
        ValueError: A line is not what was asked for.
    """
    names: dict[Key, str] = {}
    lives: dict[Key, list[tuple[list[str], list[list[str]]]]] = {}
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) != len(SACCT_FIELDS):
            _refuse_ours("sacct", line)
            continue
        job, _, step = fields[1].partition(".")
        for key in _keys(job):
            if not step:
                names[key] = fields[2]
                lives.setdefault(key, []).append((fields, []))
            elif key in lives:
                lives[key][-1][1].append(fields)
    return [History(key, names[key], tuple(_life(*life) for life in each)) for key, each in lives.items()]


def _refuse_ours(command: str, line: str) -> None:
    # Other jobs of the same user may bear any name, a bar in it too.
    if NAMES in line:
        raise ValueError(f"{command} printed a line that is not understood: {line!r}")


def _keys(text: str) -> list[Key]:
    """The jobs of a line: "12", "12_3", or tasks of an array that never started, "12_[3-5,9%2]"."""
    match = re.fullmatch(r"(\d+)(?:\+\d+)?(?:_(?:(\d+)|\[([\d,\-]+)(?:%\d+)?\]))?", text)
    if not match:
        return []
    submission = int(match[1])
    if match[3]:
        return [Key(submission, int(number)) for number in _numbers(match[3], text)]
    return [Key(submission, int(match[2]) if match[2] else None)]


def _life(job: Sequence[str], steps: Sequence[Sequence[str]]) -> Accounted:
    state, code, nodes, asked = job[3], job[4], job[5], megabytes(job[7])
    used = max((megabytes(step[6]) or 0.0 for step in steps), default=0.0)
    return Accounted(
        state=state,
        exit_code=code,
        steps=tuple(step[3] for step in steps),
        over_memory=bool(asked) and used > (asked or 0.0),
        cpu_s=int(job[8]) if job[8].isdigit() else 0,
        nodes="" if nodes in _NOBODY else nodes,
    )


def megabytes(text: str) -> float | None:
    """An amount of memory as Slurm writes it ("608K", "1.50G"), in MB; None where there is none.

    Slurm before 21.08 says by "c" that it is for each core ("500Mc"): nothing can be compared with that.
    """
    match = re.fullmatch(r"([\d.]+)([KMGT]?)n?", text)
    return float(match[1]) * _MB[match[2] or "M"] if match else None


def read_records(text: str) -> list[Mapping[str, str]]:
    """The lines of `scontrol --oneliner show ...`, each as its keys and values."""
    return [dict(_pairs(line)) for line in text.splitlines() if "=" in line]


def _pairs(line: str) -> Iterator[tuple[str, str]]:
    # Values may hold blanks (a node's reason), so a value goes on to the next word that begins with a key.
    keys = list(re.finditer(r"(?:^|\s)([A-Za-z][\w:/]*)=", line))
    for place, match in enumerate(keys):
        end = keys[place + 1].start() if place + 1 < len(keys) else len(line)
        value = line[match.end() : end].strip()
        yield match[1], "" if value in _NOBODY else value


def expand(hosts: str) -> list[str]:
    """The names in one of Slurm's host lists: "n[1-3,08],gpu7" is n1, n2, n3, n08, gpu7.

    The same as `scontrol show hostnames`, without a process for each.

    Raises:
        ValueError: It is no host list.
    """
    names: list[str] = []
    for part in _split(hosts):
        names += _expand_one(part)
    return names


def _split(hosts: str) -> Iterator[str]:
    depth, begun = 0, 0
    for place, character in enumerate(hosts):
        depth += {"[": 1, "]": -1}.get(character, 0)
        if depth not in (0, 1):
            raise ValueError(f"{hosts!r} is no list of nodes")
        if character == "," and depth == 0:
            yield hosts[begun:place]
            begun = place + 1
    if depth:
        raise ValueError(f"{hosts!r} is no list of nodes")
    yield hosts[begun:]


def _expand_one(part: str) -> list[str]:
    match = re.fullmatch(r"([^\[\]]*)(?:\[([\d,\-]+)\](.*))?", part, flags=re.DOTALL)
    if not match or not part:
        raise ValueError(f"{part!r} is no list of nodes")
    if match[2] is None:
        return [match[1]]
    rest = _expand_one(match[3]) if match[3] else [""]
    return [f"{match[1]}{number}{tail}" for number in _numbers(match[2], part) for tail in rest]


def _numbers(ranges: str, part: str) -> Iterator[str]:
    for each in ranges.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", each)
        if not match or (match[2] and int(match[2]) < int(match[1])):
            raise ValueError(f"{part!r} is no list of nodes")
        first, last = match[1], match[2] or match[1]
        yield from (f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1))
