"""Envelope encryption with AES-256-GCM; the master keys lie in a file that only we may read.

A secret's place is authenticated with it, so that what is moved between rows does not open. The
key file is read at each use: another process may have added a key a moment ago. Every machine of
an install needs the same file, and a backup of the database is worth nothing without it.
"""

import asyncio
import base64
import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gpucloud_core.kernel.secret_box import SealedSecret, SecretPlace, SecretUnreadable

FOLDER: Final = "keys"
FILE: Final = "master.json"
_BITS: Final = 256
_NONCE_BYTES: Final = 12  # what GCM is made for; each data key is used once, so none repeats
_OTHERS: Final = 0o077


@dataclass(frozen=True, slots=True)
class Keyring:
    """The master keys by name, and which one wraps what is new."""

    current: str
    keys: Mapping[str, bytes]

    def with_new_key(self) -> "Keyring":
        name = f"master-{secrets.token_hex(6)}"
        key = AESGCM.generate_key(bit_length=_BITS)
        return Keyring(name, {**self.keys, name: key})


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The master keys in a file; it is made, with a first key, when it is first read."""

    path: Path

    @classmethod
    def of(cls, home: Path) -> "KeyFile":
        return cls(home / FOLDER / FILE)

    def read(self) -> Keyring:
        """Return the keys.

        Raises:
            SecretUnreadable: others can read the file, or it does not hold keys.
        """
        if not self.path.exists():
            with self._held():
                if not self.path.exists():
                    self._write(Keyring("", {}).with_new_key())
        if self.path.stat().st_mode & _OTHERS:
            raise SecretUnreadable(f"{self.path} can be read by others; chmod it to 600.")
        try:
            content = json.loads(self.path.read_text(encoding="ascii"))
            keys = {name: _bytes(text) for name, text in content["keys"].items()}
            current = content["current"]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise SecretUnreadable(f"{self.path} does not hold master keys.") from None
        if current not in keys or any(len(key) * 8 != _BITS for key in keys.values()):
            raise SecretUnreadable(f"{self.path} does not hold master keys.")
        return Keyring(current, keys)

    def rotate(self) -> str:
        """Add a key that wraps everything from now on; return its name."""
        self.read()
        with self._held():
            ring = self.read().with_new_key()
            self._write(ring)
        return ring.current

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Let one process at a time write."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
            os.fsync(folder)
        finally:
            os.close(folder)

    def _write(self, ring: Keyring) -> None:
        """Replace the file, whole or not at all."""
        content = {
            "current": ring.current,
            "keys": {name: _text(key) for name, key in ring.keys.items()},
        }
        fresh = self.path.with_name(f"{self.path.name}.new")
        with suppress(FileNotFoundError):
            fresh.unlink()
        with open(fresh, "x", encoding="ascii", opener=_private) as file:
            json.dump(content, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)


@dataclass(frozen=True, slots=True)
class AesSecretBox:
    """Seals with the keys of a file."""

    key_file: KeyFile

    async def seal(self, place: SecretPlace, secret: str, at: datetime) -> SealedSecret:
        ring = await self._ring()
        data_key = AESGCM.generate_key(bit_length=_BITS)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return SealedSecret(
            id=place.id,
            key_id=ring.current,
            wrapped_key=_wrap(ring, data_key, place.id),
            nonce=_text(nonce),
            ciphertext=_text(AESGCM(data_key).encrypt(nonce, secret.encode(), _bound(place))),
            created_at=at,
        )

    async def open(self, place: SecretPlace, sealed: SealedSecret) -> str:
        data_key = _unwrap(await self._ring(), sealed, place.id)
        try:
            box = AESGCM(data_key)
            plain = box.decrypt(_bytes(sealed.nonce), _bytes(sealed.ciphertext), _bound(place))
        except (InvalidTag, ValueError):
            raise SecretUnreadable from None
        return plain.decode()

    async def rewrap(self, sealed: SealedSecret) -> SealedSecret:
        ring = await self._ring()
        if sealed.key_id == ring.current:
            return sealed
        data_key = _unwrap(ring, sealed, sealed.id)
        wrapped = _wrap(ring, data_key, sealed.id)
        return replace(sealed, key_id=ring.current, wrapped_key=wrapped)

    async def _ring(self) -> Keyring:
        return await asyncio.to_thread(self.key_file.read)


def _wrap(ring: Keyring, data_key: bytes, place_id: str) -> str:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    bound = _list(ring.current, place_id)
    return _text(nonce + AESGCM(ring.keys[ring.current]).encrypt(nonce, data_key, bound))


def _unwrap(ring: Keyring, sealed: SealedSecret, place_id: str) -> bytes:
    master = ring.keys.get(sealed.key_id)
    if master is None:
        raise SecretUnreadable(f"The master key {sealed.key_id} is not here.")
    try:
        wrapped = _bytes(sealed.wrapped_key)
        nonce, rest = wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:]
        return AESGCM(master).decrypt(nonce, rest, _list(sealed.key_id, place_id))
    except (InvalidTag, ValueError):
        raise SecretUnreadable from None


def _bound(place: SecretPlace) -> bytes:
    """Return what is authenticated with a secret; a list, so that no two places look alike."""
    return _list(place.tenant_id, place.row, place.field)


def _list(*parts: str | None) -> bytes:
    return json.dumps(parts, separators=(",", ":")).encode("ascii")


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _bytes(text: str) -> bytes:
    """Decode the one spelling that we write: the last letter of another may differ unseen."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raise SecretUnreadable from None
    if _text(raw) != text:
        raise SecretUnreadable
    return raw


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
