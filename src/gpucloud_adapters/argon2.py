"""Argon2id on a few threads of its own, so that nobody's sign-in stops the event loop.

Hashing takes memory on purpose; the semaphore bounds how much of it a burst of sign-ins can take.
Source: OWASP Password Storage Cheat Sheet, Argon2id (19 MiB, two passes, one lane), and
RFC 9106 section 3.1; read 2026-11-22.
"""

import asyncio
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MEMORY_KIB: Final = 19 * 1024
PASSES: Final = 2
LANES: Final = 1
AT_ONCE: Final = 4


class Argon2PasswordHasher:
    """Hashes and checks passwords with Argon2id, version 1.3, salted with 16 random bytes."""

    def __init__(self, *, at_once: int = AT_ONCE) -> None:
        self._argon2 = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
        self._turns = asyncio.Semaphore(at_once)
        self._nobody = self._argon2.hash("nobody's password")

    async def hash(self, password: str) -> str:
        """Return the encoded hash of ``password`` with a fresh salt."""
        async with self._turns:
            return await asyncio.to_thread(self._argon2.hash, password)

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Tell whether they match, in the same time also when ``encoded`` is None."""
        async with self._turns:
            known = self._nobody if encoded is None else encoded
            matches = await asyncio.to_thread(self._matches, known, password)
        return matches and encoded is not None

    def _matches(self, encoded: str, password: str) -> bool:
        try:
            return self._argon2.verify(encoded, password)
        except (VerificationError, InvalidHashError):
            return False
