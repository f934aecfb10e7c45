"""A Prefect server of one's own: on loopback, behind a password, in a closed folder (see `ownserver`)."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from hpcretrain.adapters import ownserver, prefect_serving
from hpcretrain.adapters.home import write_whole
from hpcretrain.adapters.loopback import LOOPBACK, beside_proxies
from hpcretrain.adapters.ownserver import QUIET, OwnServer
from hpcretrain.errors import HpcretrainError, InputError, PrefectError

PROFILE = "profiles.toml"
_HEALTH = "/api/health"


@dataclass(frozen=True)
class PrefectServer(OwnServer):
    """A Prefect server; its folder is the `PREFECT_HOME` of those who talk to it."""

    @property
    def url(self) -> str:
        """The address of its API."""
        return f"{self.page}/api"

    def environment(self) -> dict[str, str]:
        """What a process of the same user has to have in its environment to talk to it."""
        return {**QUIET, **beside_proxies(os.environ), "PREFECT_HOME": str(self.folder)}


def start(folder: Path, port: int | None = None, within_s: float = 90.0) -> PrefectServer:
    """Start a server, unless one runs there.

    Args:
        folder: For its files; made with mode 0700. A server that runs there already is left as it is.
        port: Where to listen. Default: where the last one in this folder did, else a free one.
        within_s: How long it may take to come up, in seconds.

    Raises:
        InputError: The folder is a link, belongs to somebody else, or has its server on another machine; or the port
            is taken.
        PrefectError: It did not come up.
    """
    try:
        with ownserver.alone(folder) as place:
            last = find(place)
            if last is not None and last.alive:
                ownserver.wait(last, _HEALTH, within_s)
                return last
            chosen = ownserver.choose_port(place, port)
            command = [sys.executable, "-m", prefect_serving.__name__]
            environment = _environment(place, chosen)
            return _known(ownserver.launch(place, chosen, command, environment, _HEALTH, within_s))
    except InputError:
        raise
    except HpcretrainError as error:
        raise PrefectError(f"Prefect: {error}", again=False) from error


def _environment(folder: Path, port: int) -> dict[str, str]:
    """Of the server's process; its clients' profile is written, too."""
    password, page = ownserver.password(folder), f"http://{LOOPBACK}:{port}"
    write_whole(folder / PROFILE, _profile(f"{page}/api", password), 0o600)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    # What is tuned by environment (an interval, a service) is the user's wish; where and behind what it listens is not.
    tuned = {name: value for name, value in os.environ.items() if name.startswith("PREFECT_SERVER_")}
    return {
        **inherited,
        **tuned,
        **QUIET,
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_API_AUTH_STRING": password,
        "PREFECT_SERVER_API_HOST": LOOPBACK,
        "PREFECT_SERVER_API_PORT": str(port),
        # Its pages ask where they came from: through a tunnel that is another port.
        "PREFECT_SERVER_UI_API_URL": "/api",
        # It writes its pages somewhere before it shows them: by default among its packages, which others may own.
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(folder / "ui"),
        # A page that the user's browser got elsewhere has no business here.
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": page,
        # In its folder. By default they are in its memory, and slots that were held when it was killed are so for ever.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    }


def find(folder: Path) -> PrefectServer | None:
    """The server that was last started in a folder; None where none was."""
    server = ownserver.find(folder)
    return _known(server) if server is not None else None


def stop(folder: Path, within_s: float = 20.0) -> bool:
    """Stop the server of a folder, and wait until it ended; its files stay. Whether one ran."""
    return ownserver.stop(folder, within_s)


def _known(server: OwnServer) -> PrefectServer:
    return PrefectServer(server.folder, server.port, server.host, server.pid)


def _profile(url: str, password: str) -> str:
    return (
        'active = "hpcretrain"\n\n[profiles.hpcretrain]\n'
        f"PREFECT_API_URL = {json.dumps(url)}\nPREFECT_API_AUTH_STRING = {json.dumps(password)}\n"
    )
