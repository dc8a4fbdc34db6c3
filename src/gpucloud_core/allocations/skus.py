"""The SKUs themselves, without counting what is free: names for lists, images for the wizard."""

from dataclasses import dataclass

from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.catalog.model import Sku
from gpucloud_core.kernel.unit import Scope, Transactions


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSkus:
    """Every SKU there is or was, so that old allocations keep their hardware's name."""

    transactions: Transactions[AllocationUnit]

    async def __call__(self, *, actor: Actor) -> tuple[Sku, ...]:
        require(actor, Action.CATALOG_READ, tenant_id=actor.tenant_id)
        async with self.transactions.look(Scope.tenant(actor.tenant_id)) as unit:
            return await unit.skus.find()
