"""A secret box that keeps to the promises of the real one, with the standard library alone.

For tests and simulation: a keystream of SHA-256 and an HMAC, not a cipher to trust secrets to.
"""

import hashlib
import hmac
from dataclasses import replace
from datetime import datetime
from itertools import count

from gpucloud_core.kernel.secret_box import SealedSecret, SecretPlace, SecretUnreadable


class MemorySecretBox:
    """Its master keys are numbers, and live as long as it does."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._current = 1

    def rotate(self) -> None:
        self._current += 1

    async def seal(self, place: SecretPlace, secret: str, at: datetime) -> SealedSecret:
        nonce = str(next(self._numbers))
        plain = secret.encode()
        mask = _stream(nonce, len(plain))
        ciphertext = bytes(a ^ b for a, b in zip(plain, mask, strict=True)).hex()
        sealed = SealedSecret(
            id=place.id,
            key_id=str(self._current),
            wrapped_key="",
            nonce=nonce,
            ciphertext=f"{ciphertext}.{_tag(nonce, ciphertext, place.id)}",
            created_at=at,
        )
        return replace(sealed, wrapped_key=_tag(sealed.key_id, place.id))

    async def open(self, place: SecretPlace, sealed: SealedSecret) -> str:
        self._check_key(sealed, place.id)
        ciphertext, _, tag = sealed.ciphertext.partition(".")
        if not hmac.compare_digest(tag, _tag(sealed.nonce, ciphertext, place.id)):
            raise SecretUnreadable
        raw = bytes.fromhex(ciphertext)
        mask = _stream(sealed.nonce, len(raw))
        return bytes(a ^ b for a, b in zip(raw, mask, strict=True)).decode()

    async def rewrap(self, sealed: SealedSecret) -> SealedSecret:
        self._check_key(sealed, sealed.id)
        key_id = str(self._current)
        return replace(sealed, key_id=key_id, wrapped_key=_tag(key_id, sealed.id))

    def _check_key(self, sealed: SealedSecret, place_id: str) -> None:
        known = {str(number) for number in range(1, self._current + 1)}
        if sealed.key_id not in known or sealed.wrapped_key != _tag(sealed.key_id, place_id):
            raise SecretUnreadable


def _stream(nonce: str, length: int) -> bytes:
    blocks = (
        hashlib.sha256(f"{nonce}/{number}".encode()).digest() for number in range(length // 32 + 1)
    )
    return b"".join(blocks)[:length]


def _tag(*parts: str) -> str:
    return hmac.digest(b"memory", "\0".join(parts).encode(), "sha256").hex()
