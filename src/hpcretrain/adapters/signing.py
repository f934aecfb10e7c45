"""Keys that sign (Ed25519), through the `cryptography` library."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_DIGITS = 16


def fingerprint(public: str) -> str:
    """The beginning of the digest of a public key in PEM."""
    return hashlib.sha256(public.encode()).hexdigest()[:_DIGITS]


@dataclass(frozen=True)
class Signed:
    """Tells what was signed by the holder of a key."""

    key: Ed25519PublicKey | None

    @classmethod
    def by(cls, public: str, known: str) -> Signed:
        """By whoever holds the key that belongs to a public one in PEM, if that has the fingerprint that is known."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        if fingerprint(public) != known:
            return cls(None)
        key = load_pem_public_key(public.encode())
        return cls(key if isinstance(key, Ed25519PublicKey) else None)

    def holds(self, text: str, signature: str) -> bool:
        """Whether a signature, in hexadecimal, is of a text."""
        from cryptography.exceptions import InvalidSignature

        if self.key is None:
            return False
        try:
            self.key.verify(bytes.fromhex(signature), text.encode("utf-8", "surrogatepass"))
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True)
class Key:
    """A private key, and its public one in PEM."""

    private: Ed25519PrivateKey
    public: str

    @classmethod
    def of(cls, path: Path) -> Key:
        """The key in a file that only its owner may read, made when it is first needed.

        Raises:
            OSError: It cannot be read or written.
            ValueError: It holds something else.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
            PublicFormat,
            load_pem_private_key,
        )

        if not path.exists():
            made = Ed25519PrivateKey.generate()
            _make(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        private = load_pem_private_key(path.read_bytes(), None)
        if not isinstance(private, Ed25519PrivateKey):
            raise ValueError(f"{path} holds no Ed25519 key")
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return cls(private, public.decode())

    @property
    def signed(self) -> Signed:
        """Tells what was signed with it."""
        return Signed(self.private.public_key())

    def sign(self, text: str) -> str:
        """The signature of a text, in hexadecimal."""
        return self.private.sign(text.encode()).hex()


def _make(path: Path, content: bytes) -> None:
    """Write a key whole; of two that are made at once, one is kept."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink(missing_ok=True)
