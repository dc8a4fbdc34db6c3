"""What sealing and anchoring need from outside."""

from collections.abc import Sequence
from typing import Protocol

from gpucloud_core.audit.chain import Anchor, ChainHead, Seal, Unsealed
from gpucloud_core.kernel.audit import AuditRow
from gpucloud_core.kernel.rows import Rows
from gpucloud_core.kernel.unit import Unit


class AuditRows(Rows[AuditRow], Protocol):
    """Rows are added by ``unit.audit`` alone; changing or deleting one is refused."""

    async def unsealed(self, *, limit: int) -> Sequence[Unsealed]:
        """Return the first rows without a place, in an order no later commit can come before.

        A row is left out while a transaction is open that could still commit an earlier one.
        """
        ...

    async def seal(self, seals: Sequence[Seal]) -> None:
        """Give each row its place, all or none.

        Raises:
            Conflict: one of them has a place already.
        """
        ...


class AuditUnit(Unit, Protocol):
    @property
    def audit_rows(self) -> AuditRows: ...
    @property
    def audit_chain(self) -> Rows[ChainHead]: ...


class AnchorStore(Protocol):
    """Keeps anchors outside the database. Append-only; what was kept survives a crash."""

    async def keep(self, anchor: Anchor) -> None: ...

    async def last(self) -> Anchor | None:
        """Return the anchor kept last; None before the first."""
        ...
