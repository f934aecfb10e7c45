"""Where the files of a cluster lie."""

from __future__ import annotations

from pathlib import Path

from minicluster.errors import Refused

STATES = Path("/var/lib/hpcretrain-minicluster")
# sun_path of unix(7), with its closing zero.
SOCKET_PATH = 107


class Places:
    """The paths inside one cluster's state folder.

    Raises:
        Refused: The path is relative, or too long for the sockets of Slurm.
    """

    def __init__(self, state: Path) -> None:
        self.state = state
        self.record = state / "cluster.json"
        self.conf = state / "slurm.conf"
        self.dbd_conf = state / "slurmdbd.conf"
        self.cgroup_conf = state / "cgroup.conf"
        self.profile = state / "profile.toml"
        self.secrets = state / "secrets"
        self.munge_key = self.secrets / "munge.key"
        self.munge_seed = self.secrets / "munge.seed"
        self.run = state / "run"
        self.munge_socket = self.run / "munge.sock"
        self.database_socket = self.run / "mariadb.sock"
        self.log = state / "log"
        self.database = state / "database"
        self.controller = state / "controller"
        self.nodes = state / "nodes"
        self.home = state / "home"
        self.spool = state / "spool-shared"
        self.python = state / "python"
        self._check()

    def _check(self) -> None:
        if not self.state.is_absolute() or " " in str(self.state):
            raise Refused(f"state folder {self.state}: wants an absolute path without blanks")
        # Of a step: the greatest id of a job is 67108863, of a step 4294967291.
        longest = str(self.nodes / "train32" / "train32_67108863.4294967291")
        if len(longest) > SOCKET_PATH:
            over = len(longest) - SOCKET_PATH
            raise Refused(f"state folder {self.state}: {over} bytes too long for the sockets in it; name another")

    def make(self) -> None:
        """Make the folders of the daemons; only root may look into those that hold secrets or the database."""
        for folder in (self.run, self.log, self.nodes):
            folder.mkdir(mode=0o755, exist_ok=True)
        for folder in (self.secrets, self.database, self.controller):
            folder.mkdir(mode=0o700, exist_ok=True)
