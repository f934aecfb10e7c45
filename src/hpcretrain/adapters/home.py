"""The home: the folder that holds everything about one model, for one process at a time."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hpcretrain.errors import HomeInUse, InputError
from hpcretrain.records import RULE_VERSION

_LOCK, IDENTITY = "home.lock", "home.json"
AS_ACTIVATED = "as activated"
"""What stands in the identity of a home that lives for its policy and rules, which records in its ledger name."""


def default_home() -> Path:
    """`HPCRETRAIN_HOME`, or `.hpcretrain/` here."""
    return Path(os.environ.get("HPCRETRAIN_HOME") or ".hpcretrain")


def write_whole(path: Path, text: str, mode: int | None = None) -> None:
    """Write a small file whole, by atomic rename.

    Args:
        path: The file.
        text: What it is to hold.
        mode: Its mode; None for what the process's umask leaves.

    Raises:
        OSError: It cannot be written; what was there is there still.
    """
    temporary = path.with_name(f".{path.name}.part")
    # Left by a process that was killed.
    temporary.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, 0o666 if mode is None else 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            # Before it has its name: at no moment can somebody who may read it not do so.
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


@dataclass(frozen=True)
class Home:
    """The places inside a home."""

    path: Path

    @property
    def ledger(self) -> Path:
        """The ledger."""
        return self.path / "ledger.jsonl"

    @property
    def profiles(self) -> Path:
        """Stored data profiles."""
        return self.path / "profiles"

    @property
    def spool(self) -> Path:
        """Folders of training jobs."""
        return self.path / "spool"

    @property
    def models(self) -> Path:
        """Folders of models, named by digest."""
        return self.path / "models"

    @property
    def mlflow(self) -> Path:
        """The MLflow store."""
        return self.path / "mlflow"

    @property
    def model(self) -> str:
        """Name of its model.

        Raises:
            InputError: It cannot be read.
        """
        try:
            return str(json.loads((self.path / IDENTITY).read_text(encoding="utf-8"))["model"])
        except (OSError, ValueError, TypeError, LookupError) as error:
            raise InputError(f"{self.path / IDENTITY} cannot be read: {error!r}") from error

    @classmethod
    def existing(cls, path: Path) -> Home:
        """A home to read from.

        Raises:
            InputError: There is none.
        """
        try:
            found = (path / IDENTITY).is_file()
        except OSError as error:
            raise InputError(f"home {path} cannot be read: {error.strerror or error}") from error
        if not found:
            raise InputError(f"{path} is no home; `hpcretrain backtest` or `demo` makes one, --home names another")
        return cls(path)

    @classmethod
    @contextmanager
    def open(cls, path: Path, identity: Mapping[str, str]) -> Iterator[Home]:
        """A home to work in, made if need be, locked against other processes.

        Args:
            path: The folder.
            identity: What the home is for: digests of configuration, policy and data. It must stay the same.

        Raises:
            InputError: It is for something else, in use, not a home, or cannot be written. Nothing was changed.
        """
        home = cls(path)
        try:
            home._check(identity)
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"home {path} cannot be written: {error.strerror or error}") from error
        with cls.held(path):
            try:
                # Somebody may have made the home between the first look and the lock.
                home._check(identity)
                home._make(identity)
            except OSError as error:
                raise InputError(f"home {path} cannot be written: {error.strerror or error}") from error
            yield home

    @classmethod
    @contextmanager
    def held(cls, path: Path) -> Iterator[None]:
        """A folder held against other processes that work in it.

        Raises:
            HomeInUse: Another one holds it.
            InputError: It cannot be written.
        """
        try:
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise InputError(f"home {path} cannot be written: {error.strerror or error}") from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.pread(lock, 32, 0).decode() or "unknown"
                raise HomeInUse(
                    f"home {path} is in use by process {owner}; wait for it, or pass --home with another folder"
                ) from None
            try:
                os.ftruncate(lock, 0)
                os.pwrite(lock, str(os.getpid()).encode(), 0)
            except OSError as error:
                raise InputError(f"home {path} cannot be written: {error.strerror or error}") from error
            yield
        finally:
            os.close(lock)

    def _make(self, identity: Mapping[str, str]) -> None:
        # The identity comes first: only what it marks as ours is ever written into.
        if not (self.path / IDENTITY).exists():
            self.path.chmod(0o700)
            self.write(IDENTITY, json.dumps(dict(identity), indent=1))
        for folder in (self.profiles, self.spool, self.models, self.mlflow):
            folder.mkdir(mode=0o700, exist_ok=True)

    def write(self, name: str, text: str) -> None:
        """Write a small file whole, by atomic rename."""
        write_whole(self.path / name, text, 0o600)

    def _check(self, identity: Mapping[str, str]) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"home {self.path} is a file; pass --home with a folder")
        known = self.path / IDENTITY
        if not known.exists():
            present = {each.name for each in self.path.iterdir()} if self.path.is_dir() else set()
            strangers = present - {_LOCK, f".{IDENTITY}.part"}
            if strangers:
                raise InputError(
                    f"home {self.path} is not empty and is no home (it holds {sorted(strangers)[0]}); "
                    "pass --home with a new folder"
                )
            return
        try:
            theirs = json.loads(known.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{known} cannot be read: {error}; pass --home with a new folder") from error
        if not isinstance(theirs, dict):
            raise InputError(f"{known} holds no JSON object; pass --home with a new folder")
        differing = sorted(key for key in {*identity, *theirs} if theirs.get(key) != identity.get(key))
        if theirs.get("rules") not in (RULE_VERSION, AS_ACTIVATED):
            raise InputError(
                f"home {self.path} was made by another version of hpcretrain, which decided by rules "
                f"{theirs.get('rules')} (here they are {RULE_VERSION}): status, explain, served and audit "
                "still read it; to go on, pass --home with a new folder"
            )
        if differing:
            raise InputError(
                f"home {self.path} belongs to another {' and '.join(differing)}; "
                "pass --home with a new folder, or remove that one"
            )
