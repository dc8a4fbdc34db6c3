"""What changed last for a tenant, as marks to compare: a page that sees one move looks again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_core.kernel.unit import Scope, Transactions

_NEWEST: Final = ListQuery(sort="-id", limit=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPulse:
    """A mark per topic that differs whenever something of that topic happened."""

    transactions: Transactions[AllocationUnit]

    async def __call__(self, *, actor: Actor) -> Mapping[str, str]:
        """Return the marks of ``allocation``, ``task`` and ``money``."""
        require(actor, Action.BILLING_READ, tenant_id=actor.tenant_id)
        async with self.transactions.begin(Scope.tenant(actor.tenant_id)) as unit:
            change = await unit.state_changes.page(_NEWEST)
            event = await unit.task_events.page(_NEWEST)
            transfer = await unit.ledger.transfers(_NEWEST)
            account = await unit.billing_accounts.get(actor.tenant_id)
            payment = await unit.payments.page(_NEWEST)
        standing = account.standing if account else ""
        paid = next((f"{one.id} {one.state}" for one in payment.items), "")
        posted = next((one.id for one in transfer.items), "")
        return {
            "allocation": next((one.id for one in change.items), ""),
            "task": next((one.id for one in event.items), ""),
            "money": f"{posted} {standing} {paid}",
        }
