"""Password hashes from the standard library alone, for embedding without the server's parts.

The server uses Argon2id; scrypt with these parameters is the next best thing that Python carries.
Source: OWASP Password Storage Cheat Sheet, scrypt (N=2^17, r=8, p=1), read 2026-11-22.
"""

import asyncio
import hashlib
import hmac
import re
from typing import Final

from gpucloud_core.access.ports import Secrets

_MEMORY_MAX: Final = 256 * 1024 * 1024
_BLOCK: Final = 8
_FORM: Final = re.compile(r"scrypt\$(?P<cost>[0-9]{1,9})\$(?P<salt>[^$]+)\$[0-9a-f]{128}")


class ScryptPasswordHasher:
    """Hashes off the event loop. ``cost`` is a power of two; tests take a small one."""

    def __init__(self, secrets: Secrets, *, cost: int = 1 << 17) -> None:
        self._secrets = secrets
        self._cost = cost
        self._nobody = self._encode("nobody's password", secrets.token(), cost)

    async def hash(self, password: str) -> str:
        """Return the encoded hash of ``password`` with a fresh salt."""
        return await asyncio.to_thread(self._encode, password, self._secrets.token(), self._cost)

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Tell whether they match, in the same time also when ``encoded`` is None."""
        matches = await asyncio.to_thread(
            self._matches, self._nobody if encoded is None else encoded, password
        )
        return matches and encoded is not None

    def _matches(self, encoded: str, password: str) -> bool:
        form = _FORM.fullmatch(encoded)
        if form is None:
            return False
        again = self._encode(password, form["salt"], int(form["cost"]))
        return hmac.compare_digest(encoded, again)

    @staticmethod
    def _encode(password: str, salt: str, cost: int) -> str:
        digest = hashlib.scrypt(
            password.encode(), salt=salt.encode(), n=cost, r=_BLOCK, p=1, maxmem=_MEMORY_MAX
        )
        return f"scrypt${cost}${salt}${digest.hex()}"
