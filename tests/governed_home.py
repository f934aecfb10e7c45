"""A home that lives under roles, in which whoever asks for something urgent asks in vain for an approval."""

from __future__ import annotations

from pathlib import Path

from tables import configure, orders, write_policy
from test_controller import run

GOVERNED = """
[roles.engineer]
members = ["nobody"]
ask = ["urgent"]

[roles.lead]
members = ["%nobody"]
approve_run = ["urgent"]

[roles.keeper]
members = ["nobody"]
activate = true

[approvals]
run = ["urgent"]
expires_h = 24

[deadlines]
waiting_h = 0.001
tier_factor = 10
tiers = 2
"""


def make(folder: Path) -> Path:
    """A folder with a configuration, and a home whose first champion serves; nothing changes in its table."""
    table = orders(rows=4_000, minutes=32, change_at=None)
    path = configure(folder, table, **write_policy(folder, weight="0.001"))
    policy = folder / "policy.toml"
    policy.write_text(policy.read_text() + GOVERNED)
    run("live", path, "--home", folder / "home", "--from", "2024-02-10", "--speed", "100")
    run("tick", "--home", folder / "home")
    return folder
