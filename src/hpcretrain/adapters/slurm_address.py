"""By which address of this machine the nodes of a class reach it."""

from __future__ import annotations

import socket

from hpcretrain.adapters.slurm import Slurm
from hpcretrain.adapters.slurm_output import expand
from hpcretrain.config.cluster import ClusterProfile
from hpcretrain.errors import InputError, SlurmError
from hpcretrain.records import PriorityClass

_ANY_PORT = 9


def facing_nodes(slurm: Slurm, profile: ClusterProfile, priority_class: PriorityClass) -> str:
    """The address from which this machine would send to a node of the class; nothing is sent.

    Raises:
        InputError: Slurm does not say where the nodes are, or there is no way to them.
        SlurmError: Slurm does not answer.
    """
    name = profile.classes.of(priority_class).partition.partition(",")[0]
    partitions = slurm.show("partition", name)
    nodes = expand(partitions[0].get("Nodes", "")) if partitions else []
    if not nodes:
        raise SlurmError(f"Slurm names no node of partition {name}; mend the cluster profile", "refused")
    address = slurm.show("node", nodes[0])[0].get("NodeAddr", nodes[0])
    try:
        [family, kind, protocol, _, place], *_ = socket.getaddrinfo(address, _ANY_PORT, type=socket.SOCK_DGRAM)
        with socket.socket(family, kind, protocol) as probe:
            # Of a datagram socket this only looks the route up.
            probe.connect(place)
            return str(probe.getsockname()[0])
    except OSError as error:
        raise InputError(
            f"no way is known from here to {nodes[0]} ({address}): {error.strerror or error}; name the address or the "
            "interface by which nodes reach this machine"
        ) from error
