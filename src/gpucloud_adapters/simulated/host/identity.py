"""The keys of a simulated host: made from its seed once, then kept in its folder.

Whoever knows the seed can make the keys again. That is wanted (a bug report's seed rebuilds the
very host) and harmless: a simulated host listens on the loopback only and guards nothing.
"""

import hashlib
import os
from pathlib import Path
from typing import Final

import asyncssh
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_PRIVATE: Final = 0o600


class Keyring:
    """Makes and keeps the Ed25519 keys of one host."""

    def __init__(self, folder: Path, *, seed: str) -> None:
        self._folder = folder
        self._seed = seed

    def key(self, name: str) -> asyncssh.SSHKey:
        """Return the key of this name; it outlives the process."""
        return asyncssh.import_private_key(self.path(name).read_bytes())

    def path(self, name: str) -> Path:
        """Return the file of the private key of this name, making it when there is none."""
        path = self._folder / f"{name}_ed25519"
        if not path.exists():
            write_private(path, self._derived(name))
        return path

    def forget(self, name: str) -> None:
        (self._folder / f"{name}_ed25519").unlink(missing_ok=True)

    def _derived(self, name: str) -> bytes:
        secret = hashlib.sha256(f"ssh/{self._seed}/{name}".encode()).digest()
        return Ed25519PrivateKey.from_private_bytes(secret).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )


def public_line(key: asyncssh.SSHKey) -> str:
    """Return the public half as ``type base64``."""
    kind, blob, *_ = key.export_public_key().decode().split()
    return f"{kind} {blob}"


def write_private(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` in one step, readable by us alone, safe from a power cut."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
