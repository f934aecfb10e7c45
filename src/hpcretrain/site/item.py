"""One thing that was checked at a site, and what mends it."""

from __future__ import annotations

from dataclasses import dataclass

from hpcretrain.canonical import Plain
from hpcretrain.records import Finding, Outcome

SLURM_CONF, SHELL = "slurm.conf", "shell"


@dataclass(frozen=True)
class Mend(Plain):
    """A line that mends something.

    Attributes:
        who: "operator", or "you": whoever runs hpcretrain.
        where: "slurm.conf", "shell", or the table of the cluster profile, such as "[preemption]".
        line: The line itself.
        note: What else has to be known, such as the restart that it needs.
    """

    who: str
    where: str
    line: str
    note: str = ""


@dataclass(frozen=True)
class Item(Plain):
    """A finding, the lines that mend it (any one of them, the best first), and who could see what could not be seen.

    The outcome is `pass`; `wait` where it works and could be better; `insufficient` where it cannot be seen; `fail`.
    """

    finding: Finding
    mends: tuple[Mend, ...] = ()
    who: str = ""


def fine(check: str, reason: str, observed: float | int | str | None = None) -> Item:
    return Item(Finding(check, Outcome.PASS, reason, observed))


def better(check: str, reason: str, *mends: Mend) -> Item:
    """It works; it would be better otherwise."""
    return Item(Finding(check, Outcome.WAIT, reason), mends)


def wrong(
    check: str,
    reason: str,
    *mends: Mend,
    observed: float | int | str | None = None,
    limit: float | int | str | None = None,
) -> Item:
    return Item(Finding(check, Outcome.FAIL, reason, observed, limit), mends)


def unseen(check: str, reason: str, who: str = "the cluster's operators") -> Item:
    """It cannot be seen by this user, here, now; `who` could."""
    return Item(Finding(check, Outcome.INSUFFICIENT, reason), who=who)


def conf(line: str) -> Mend:
    """A line of slurm.conf."""
    return Mend("operator", SLURM_CONF, line, "then `scontrol reconfigure`")


def conf_restart(line: str) -> Mend:
    """A line of slurm.conf that slurmctld reads when it starts."""
    return Mend("operator", SLURM_CONF, line, "then restart slurmctld")


def operate(line: str, note: str = "") -> Mend:
    """A command of an operator."""
    return Mend("operator", SHELL, line, note)


def do(line: str) -> Mend:
    """A command of the user."""
    return Mend("you", SHELL, line)


def profile(table: str, line: str) -> Mend:
    """A line of the cluster profile."""
    return Mend("you", f"[{table}]", line)
