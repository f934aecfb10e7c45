"""How a controller is reached on its own machine: a socket in the home, over which each call is one line each way.

The home is open to its owner alone, and so is the socket. Who calls is what the kernel says of the other end.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hpcretrain.errors import HpcretrainError, InputError, SlurmError

NAME = "controller.sock"
_MOST_BYTES = 30_000_000
"""More than signals of as many bytes as may be told at once come to, however they are escaped."""
_PATIENCE_S = 5.0
_UCRED = struct.Struct("iII")

Call = Mapping[str, Any]


@contextmanager
def _reachable(home: Path) -> Iterator[str]:
    """A path of the socket that is short enough for the kernel, wherever the home lies."""
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{NAME}"
    finally:
        os.close(folder)


class Listener:
    """The controller's end.

    Args:
        home: The home, whose lock the caller holds.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / NAME
        self._path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with _reachable(home) as address:
            self._socket.bind(address)
        self._path.chmod(0o600)
        self._socket.listen(64)

    def serve(self, within_s: float, do: Callable[[Call, int, Callable[[str], None]], Any]) -> bool:
        """Wait for a call and answer it; whether one came.

        Args:
            within_s: Seconds to wait.
            do: Does what a call, of a user by number, asks for; its third argument tells the caller what is done.
        """
        self._socket.settimeout(within_s)
        try:
            connection, _ = self._socket.accept()
        except TimeoutError:
            return False
        with connection:
            connection.settimeout(_PATIENCE_S)
            try:
                text = _read(connection)
                _, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
            except OSError:
                return True
            outcome = _outcome(text, uid, do, lambda line: _tell(connection, line))
            # Whoever calls may go away at any time; what was asked for is done all the same.
            with contextlib.suppress(OSError):
                _send(connection, outcome)
        return True

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()
        self._path.unlink(missing_ok=True)


def _outcome(
    text: bytes, uid: int, do: Callable[[Call, int, Callable[[str], None]], Any], tell: Callable[[str], None]
) -> Call:
    try:
        return {"answer": do(_understood(text), uid, tell)}
    except SlurmError as error:
        return {"error": str(error), "kind": "slurm", "trouble": error.trouble}
    except InputError as error:
        return {"error": str(error), "kind": "input"}
    except (HpcretrainError, OSError) as error:
        return {"error": str(error), "kind": "outside"}


def call(home: Path, what: Call, tell: Callable[[str], None] = lambda _: None) -> Any:
    """What the controller of a home answers.

    Args:
        home: The home.
        what: The call.
        tell: Called with what is done meanwhile.

    Raises:
        ConnectionError: No controller is there.
        HpcretrainError: What the call came to, as the controller raised it.
    """
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as line:
        try:
            with _reachable(home) as address:
                line.connect(address)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ConnectionError(f"no controller is at work in {home}") from error
        _send(line, what)
        with line.makefile("r", encoding="utf-8") as told:
            for each in told:
                heard = json.loads(each)
                if "told" in heard:
                    tell(heard["told"])
                elif "error" in heard:
                    raise _raised(heard)
                else:
                    return heard["answer"]
    raise ConnectionError(f"the controller of {home} ended before it answered; what was asked may have been done")


def _raised(heard: Call) -> HpcretrainError:
    if heard["kind"] == "slurm":
        return SlurmError(heard["error"], heard["trouble"])
    return (InputError if heard["kind"] == "input" else HpcretrainError)(heard["error"])


def _read(connection: socket.socket) -> bytes:
    text = bytearray()
    while not text.endswith(b"\n") and len(text) < _MOST_BYTES:
        part = connection.recv(65536)
        if not part:
            break
        text += part
    return bytes(text)


def _understood(text: bytes) -> Call:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"a call is one line of JSON: {error}") from error
    if not isinstance(found, dict):
        raise InputError("a call is a JSON object")
    return found


def _send(connection: socket.socket, what: Call) -> None:
    connection.sendall(json.dumps(what).encode() + b"\n")


def _tell(connection: socket.socket, line: str) -> None:
    with contextlib.suppress(OSError):
        _send(connection, {"told": line})
