"""Free ports on loopback for the daemons of a cluster."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

# Below those that the kernel gives to outgoing connections, which could take the port of a daemon that is down.
RANGE = range(20_000, 32_000)


@contextmanager
def reserved(names: Iterable[str]) -> Iterator[dict[str, int]]:
    """A port for each name, kept from every other cluster that comes up until the block ends.

    A daemon can bind such a port meanwhile: like the reserving socket, which does not listen, it sets SO_REUSEADDR.
    """
    sockets: dict[str, socket.socket] = {}
    try:
        candidates = iter(random.sample(RANGE, len(RANGE)))
        for name in names:
            sockets[name] = _bound(candidates)
        yield {name: taken.getsockname()[1] for name, taken in sockets.items()}
    finally:
        for taken in sockets.values():
            taken.close()


def _bound(candidates: Iterator[int]) -> socket.socket:
    for port in candidates:
        taken = socket.socket()
        try:
            taken.bind(("127.0.0.1", port))
        except OSError as error:
            taken.close()
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            # Only now: before, it would share the port of another who reserves.
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            return taken
    raise OSError(errno.EADDRINUSE, f"no port from {RANGE[0]} to {RANGE[-1]} is free")


def listening(port: int) -> bool:
    """Whether somebody listens on this port of loopback; asked of the kernel, since a connection would be logged."""
    wanted = f"0100007F:{port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, address, _, state, *_ = line.split()
        if address == wanted and state == "0A":
            return True
    return False
