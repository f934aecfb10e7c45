"""The cluster profile of a minicluster."""

from __future__ import annotations

from pathlib import Path

from minicluster.accounts import CLASSES
from minicluster.places import Places
from minicluster.programs import program
from minicluster.settings import Settings, hostlist

TIME_LIMITS_MIN = {"urgent": 30, "standard": 60, "background": 240}


def text(settings: Settings, places: Places) -> str:
    """The profile as TOML: the same on every machine for the same settings and folder."""
    sections = [
        "# Written by `make cluster`, which keeps it true.",
        'name = "minicluster"',
        "",
        "[commands]",
        f'conf = "{places.conf}"',
        f'folder = "{Path(program("sbatch")).parent}"',
        "",
        "[spool]",
        f'path = "{places.spool}"',
        "",
        "[inference]",
        'partitions = ["inference"]',
        f'nodes = "{hostlist(settings.inference)}"',
        "",
        "[environment]",
        f'python = "{places.python}/bin/python"',
        "",
        "[preemption]",
        f"grace_s = {settings.grace_s}",
        'signal = "USR2"',
        "lead_s = 60",
        f"requeue = {str(settings.requeue and settings.preempt_mode == 'requeue').lower()}",
        "requeue_on_node = true",
        "",
        "[status]",
        f"accounting = {str(settings.accounting).lower()}",
    ]
    for name in CLASSES:
        sections += [
            "",
            f"[classes.{name}]",
            f'partition = "{"urgent" if name == "urgent" else "train"}"',
            *([f'qos = "{name}"', 'account = "retrain"'] if settings.accounting else []),
            "memory_mb = 500",
            f"time_limit_min = {TIME_LIMITS_MIN[name]}",
        ]
    return "\n".join(sections) + "\n"
