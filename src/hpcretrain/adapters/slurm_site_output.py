"""Reads what Slurm's commands print of a site. Pure; tested on recorded output of several versions."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hpcretrain.adapters.slurm_output import expand, megabytes
from hpcretrain.site.facts import Association, Partition, Qos, Reservation

_NOT_SET = ("", "(null)", "N/A", "n/a", "NONE", "None")
_NO_LIMIT = (*_NOT_SET, "UNLIMITED", "INFINITE", "-1", "Partition_Limit")

# By the column of `sacctmgr show qos`: the option of `sacctmgr modify qos`. Columns have the same names since 17.11.
_QOS_SUBMIT = {
    "MaxSubmitPU": "MaxSubmitJobsPerUser",
    "MaxSubmitPA": "MaxSubmitJobsPerAccount",
    "GrpSubmit": "GrpSubmitJobs",
}
_ASSOCIATION_SUBMIT = {"MaxSubmit": "MaxSubmitJobs", "GrpSubmit": "GrpSubmitJobs"}


def read_config(text: str) -> dict[str, str]:
    """`scontrol show config`: parameters and their values, "" where one is not set."""
    found = {}
    for line in text.splitlines():
        match = re.match(r"([A-Za-z][\w\[\]]*)\s*=\s?(.*)", line)
        if match:
            value = match[2].strip()
            found[match[1]] = "" if value in ("(null)", "N/A") else value
    return found


def read_table(text: str) -> list[dict[str, str]]:
    """What `sacctmgr --parsable2 show ...` prints: a header, then lines of the same fields."""
    lines = text.splitlines()
    if not lines:
        return []
    header = lines[0].split("|")
    return [
        dict(zip(header, line.split("|"), strict=False)) for line in lines[1:] if line.count("|") >= len(header) - 1
    ]


def read_partition(shown: Mapping[str, str]) -> Partition:
    """One of the records of `scontrol show partition`."""
    return Partition(
        name=shown["PartitionName"],
        state=shown.get("State", ""),
        nodes=_nodes(shown),
        allow_qos=_allowed(shown.get("AllowQos", "ALL")),
        deny_qos=_names(shown.get("DenyQos", "")),
        allow_accounts=_allowed(shown.get("AllowAccounts", "ALL")),
        deny_accounts=_names(shown.get("DenyAccounts", "")),
        allow_groups=_allowed(shown.get("AllowGroups", "ALL")),
        root_only=shown.get("RootOnly") == "YES",
        needs_reservation=shown.get("ReqResv") == "YES",
        default=shown.get("Default") == "YES",
        max_time_min=minutes(shown.get("MaxTime", "")),
        max_memory_mb=None if shown.get("MaxMemPerNode", "") in _NO_LIMIT else megabytes(shown["MaxMemPerNode"]),
        priority_tier=_number(shown.get("PriorityTier", "")) or 1,
        preempt_mode=shown.get("PreemptMode", ""),
        grace_s=_number(shown.get("GraceTime", "")) or 0,
    )


def read_reservation(shown: Mapping[str, str]) -> Reservation:
    """One of the records of `scontrol show reservation`."""
    return Reservation(
        name=shown["ReservationName"],
        nodes=_nodes(shown),
        users=_names(shown.get("Users", "")),
        accounts=_names(shown.get("Accounts", "")),
    )


def read_qos(text: str) -> dict[str, Qos]:
    """`sacctmgr --parsable2 show qos`, by name."""
    return {
        row["Name"]: Qos(
            name=row["Name"],
            priority=_number(row.get("Priority", "")) or 0,
            grace_s=60 * (minutes(row.get("GraceTime", "")) or 0),
            preempts=_names(row.get("Preempt", "")),
            preempt_mode=row.get("PreemptMode", "") or "cluster",
            exempt_min=minutes(row.get("PreemptExemptTime", "")),
            flags=_names(row.get("Flags", "")),
            max_wall_min=minutes(row.get("MaxWall", "")),
            submit_limits=_limits(row, _QOS_SUBMIT),
        )
        for row in read_table(text)
        if row.get("Name")
    }


def read_associations(text: str) -> tuple[Association, ...]:
    """`sacctmgr --parsable2 show associations` of one user at one cluster."""
    return tuple(
        Association(
            account=row["Account"],
            partition=row.get("Partition") or None,
            qos=_names(row.get("QOS", "")),
            default_qos=row.get("Def QOS") or None,
            max_wall_min=minutes(row.get("MaxWall", "")),
            submit_limits=_limits(row, _ASSOCIATION_SUBMIT),
        )
        for row in read_table(text)
        if row.get("Account")
    )


def read_memory(text: str) -> dict[str, int]:
    """`sinfo --format="%R|%m"`: by partition the memory (MB) of its largest node."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, _, memory = line.strip().rpartition("|")
        # With a "+" nodes differ, and this is the smallest.
        amount = _number(memory.rstrip("+"))
        if name and amount:
            found[name] = max(amount, found.get(name, 0))
    return found


def minutes(text: str) -> float | None:
    """A span of time as Slurm writes it, in minutes: "1-00:00:00", "04:00:00", "30:00", "30"; None if unlimited.

    Raises:
        ValueError: It is none.
    """
    if text.strip() in _NO_LIMIT:
        return None
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text.strip())
    if not match:
        raise ValueError(f"{text!r} is no span of time")
    days, first, second, third = (int(part) if part else 0 for part in match.groups())
    if match[1] is not None or match[4] is not None:
        return days * 1440 + first * 60 + second + third / 60
    return first + second / 60


def _nodes(shown: Mapping[str, str]) -> frozenset[str]:
    return frozenset(expand(shown["Nodes"])) if shown.get("Nodes") else frozenset()


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip() not in _NOT_SET)


def _allowed(text: str) -> frozenset[str] | None:
    return None if text.upper() == "ALL" else _names(text)


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\d+", text.strip()) else None


def _limits(row: Mapping[str, str], options: Mapping[str, str]) -> dict[str, int]:
    found = {option: _number(row.get(column, "")) for column, option in options.items()}
    return {option: limit for option, limit in found.items() if limit is not None}


def preempted_by_trial(told: str) -> str:
    """The jobs that would have to make room, from what `sbatch --test-only` prints."""
    match = re.search(r"Preempts: *(\S+)", told)
    return match[1] if match else ""
