"""Loopback of a machine that others use too: who listens there, and that no proxy comes between."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Mapping
from pathlib import Path

LOOPBACK = "127.0.0.1"
# Of 127.0.0.1 and of all addresses, as the kernel writes them, in both families.
_REACHED = {"0100007F", "0" * 8, "0000000000000000FFFF00000100007F", "0" * 32}


def beside_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """What is to be added to an environment so that no proxy comes between a process and this machine."""
    told = [environment.get(name, "").split(",") for name in ("no_proxy", "NO_PROXY")]
    names = dict.fromkeys([*(name.strip() for each in told for name in each if name.strip()), LOOPBACK, "localhost"])
    # All of them, which is understood only by itself.
    direct = "*" if "*" in names else ",".join(names)
    return {"no_proxy": direct, "NO_PROXY": direct}


def proxied() -> bool:
    """Whether a proxy is configured."""
    return bool(set(urllib.request.getproxies_environment()) - {"no"})


def any_port() -> int:
    """A port that is free."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def free(port: int) -> bool:
    """Whether one may listen on a port."""
    with socket.socket() as probe:
        # Connections of the last server that linger do not keep the next one from listening.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def holders(port: int) -> set[int]:
    """The users whose processes listen where one who connects to a port of loopback comes to."""
    listening = [line.split() for family in ("tcp", "tcp6") for line in _lines(Path("/proc/net") / family)]
    at = {f"{address}:{port:04X}" for address in _REACHED}
    return {int(fields[7]) for fields in listening if fields[1] in at and fields[3] == "0A"}


def _lines(table: Path) -> list[str]:
    try:
        return table.read_text().splitlines()[1:]
    except FileNotFoundError:
        # A kernel without that family.
        return []
