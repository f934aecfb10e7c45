"""MLflow's own pages over the store of a home, for people: on loopback, behind a password."""

from __future__ import annotations

import os
import secrets
import sys
from importlib.util import find_spec
from pathlib import Path

from hpcretrain.adapters import ownserver
from hpcretrain.adapters.home import Home, write_whole
from hpcretrain.adapters.loopback import LOOPBACK
from hpcretrain.adapters.mlflow_store import DATABASE, address
from hpcretrain.adapters.ownserver import OwnServer
from hpcretrain.errors import InputError

_HEALTH, _USERS = "/health", "users.db"
_SETTINGS = """\
[mlflow]
default_permission = MANAGE
database_uri = sqlite:///{users}
admin_username = {user}
admin_password = {password}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
# A page asks a hundred times; each check of a password takes a tenth of a second by itself.
auth_cache_ttl_seconds = 60
"""


def folder(home: Path) -> Path:
    """Where the server of a home has its files."""
    return home.resolve() / "mlflow-server"


def start(home: Path, port: int | None = None, within_s: float = 90.0) -> OwnServer:
    """Start a server over a home's store, unless one runs there.

    Args:
        home: The home.
        port: Where to listen. Default: where the last one did, else a free one.
        within_s: How long it may take to come up, in seconds.

    Raises:
        InputError: There is no home, what MLflow's passwords need is not installed, the folder is a link or has its
            server on another machine, or the port is taken.
        HpcretrainError: It did not come up.
    """
    store = Home.existing(home).mlflow.resolve()
    if find_spec("flask_wtf") is None:
        raise InputError("MLflow's passwords need Flask-WTF; `pip install 'hpcretrain[live]'` brings it")
    with ownserver.alone(folder(home)) as place:
        last = ownserver.find(place)
        if last is not None and last.alive:
            ownserver.wait(last, _HEALTH, within_s)
            return last
        chosen = ownserver.choose_port(place, port)
        where = ["--backend-store-uri", address(store / DATABASE), "--host", LOOPBACK, "--port", str(chosen)]
        command = [sys.executable, "-m", "mlflow", "server", *where, "--app-name", "basic-auth", "--workers", "1"]
        return ownserver.launch(place, chosen, command, _environment(place), _HEALTH, within_s)


def _environment(place: Path) -> dict[str, str]:
    """Of the server's process; the file with its password is written, too."""
    if not (place / ownserver.PASSWORD).exists():
        # It has the password that was there before.
        for old in place.glob(f"{_USERS}*"):
            old.unlink()
    user, _, password = ownserver.password(place).partition(":")
    settings = place / "auth.ini"
    # It reads % as the beginning of a reference.
    text = _SETTINGS.format(users=str(place / _USERS).replace("%", "%%"), user=user, password=password)
    write_whole(settings, text, 0o600)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    return {
        **inherited,
        **ownserver.QUIET,
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        # Eight processes, for work that nobody here gives it.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_urlsafe(32),
    }


def stop(home: Path) -> bool:
    """Stop the server of a home; its files stay. Whether one ran."""
    return ownserver.stop(folder(home))
