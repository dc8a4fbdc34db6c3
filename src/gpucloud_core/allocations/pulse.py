"""What changed last for a tenant, as marks to compare: a page that sees one move looks again."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_core.kernel.unit import Scope, Transactions


class Topic(StrEnum):
    """What a page can be about; the stream of changes names these."""

    ALLOCATION = "allocation"  # an allocation has moved
    TASK = "task"  # a task's story has grown
    MONEY = "money"  # the ledger, a payment, or the standing has changed
    CAPACITY = "capacity"  # what is free may have changed
    FLEET = "fleet"  # what operators see of all tenants may have changed


_NEWEST: Final = ListQuery(sort="-id", limit=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPulse:
    """A mark per topic that differs whenever something of that topic happened."""

    transactions: Transactions[AllocationUnit]

    async def __call__(self, *, actor: Actor) -> Mapping[Topic, str]:
        """Return the marks of every topic that is the tenant's own."""
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
            Topic.ALLOCATION: next((one.id for one in change.items), ""),
            Topic.TASK: next((one.id for one in event.items), ""),
            Topic.MONEY: f"{posted} {standing} {paid}",
        }
