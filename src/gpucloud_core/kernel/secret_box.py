"""Secrets as they are stored: sealed for one place, and useless anywhere else.

Each has a data key of its own, wrapped by a master key that is named and kept elsewhere. Changing
the master key wraps the data keys anew; what they seal stays as it is.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gpucloud_core.kernel.errors import DomainError, ErrorKind
from gpucloud_core.kernel.ids import TenantId
from gpucloud_core.kernel.rows import Rows
from gpucloud_core.kernel.unit import Scope, Transactions, Unit


class SecretUnreadable(DomainError):
    """A stored secret cannot be opened."""

    code = "secret_unreadable"
    kind = ErrorKind.UNAVAILABLE
    next_step = "Ask an operator: its master key is missing, or what is stored was changed."


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretPlace:
    """Where a secret belongs. One sealed for another place does not open here."""

    tenant_id: TenantId | None = None  # None: the platform's own
    row: str
    field: str

    @property
    def id(self) -> str:
        return f"{self.tenant_id or 'platform'}/{self.row}/{self.field}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedSecret:
    """A secret as stored; bytes as base64."""

    id: str  # of its place
    key_id: str  # the master key that wraps ``wrapped_key``
    wrapped_key: str
    nonce: str
    ciphertext: str
    created_at: datetime


class SecretBox(Protocol):
    """Seals and opens. It never says why it refuses more than that it does."""

    async def seal(self, place: SecretPlace, secret: str, at: datetime) -> SealedSecret:
        """Return ``secret`` sealed for ``place`` under the present master key."""
        ...

    async def open(self, place: SecretPlace, sealed: SealedSecret) -> str:
        """Return what was sealed for ``place``.

        Raises:
            SecretUnreadable: its master key is unknown, it was changed, or is of another place.
        """
        ...

    async def rewrap(self, sealed: SealedSecret) -> SealedSecret:
        """Return the same under the present master key; as it is if it is under that already.

        Raises:
            SecretUnreadable: as ``open``.
        """
        ...


class SecretUnit(Unit, Protocol):
    @property
    def secrets(self) -> Rows[SealedSecret]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RewrapSecrets:
    """Bring every stored secret under the present master key, while everything runs."""

    transactions: Transactions[SecretUnit]
    box: SecretBox

    async def __call__(self) -> int:
        """Rewrap, one transaction each; return how many were under another key."""
        async with self.transactions.begin(Scope.platform()) as unit:
            known = [row.id for row in await unit.secrets.find()]
        changed = 0
        for secret_id in known:
            async with self.transactions.begin(Scope.platform()) as unit:
                row = await unit.secrets.lock(secret_id)
                if row is None:
                    continue
                wrapped = await self.box.rewrap(row)
                if wrapped != row:
                    await unit.secrets.put(wrapped)
                    changed += 1
        return changed
