"""Allocations that end by themselves: their time to live, or the tenant's money, is over.

Timers are rows on the server, never in the guest. What is due is asked again under the locks, so
that a top-up or a change that lands first keeps everything running.
"""

from dataclasses import dataclass

from gpucloud_core.allocations.apply import Cause
from gpucloud_core.allocations.model import Allocation
from gpucloud_core.allocations.ports import MAY_EXPIRE, AllocationUnit
from gpucloud_core.allocations.release import begin_release
from gpucloud_core.billing.accounts import end_of_balance, end_segment, lock_account
from gpucloud_core.kernel.ids import AllocationId, Ids, TenantId
from gpucloud_core.kernel.unit import AuditFact, Scope, Transactions


def _by_us(allocation: Allocation, reason: str) -> AuditFact:
    return AuditFact(
        action="allocation.release",
        target=allocation.id,
        tenant_id=allocation.tenant_id,
        project_id=allocation.project_id,
        via="worker",
        changes={"reason": [None, reason]},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseExpired:
    """Release allocations whose timer has run out."""

    transactions: Transactions[AllocationUnit]
    ids: Ids

    async def __call__(self, *, limit: int = 100) -> int:
        """Release what is due; return how many."""
        async with self.transactions.begin(Scope.platform()) as unit:
            due = await unit.allocations.expired(await unit.now(), limit=limit)
        done = [await self._release(allocation_id) for allocation_id in due]
        return sum(done)

    async def _release(self, allocation_id: AllocationId) -> bool:
        async with self.transactions.begin(Scope.platform()) as unit:
            known = await unit.allocations.get(allocation_id)
            if known is None:
                return False
            await lock_account(unit, known.tenant_id)
            allocation = await unit.allocations.lock(allocation_id)
            now = await unit.now()
            if (
                allocation is None
                or allocation.state not in MAY_EXPIRE
                or allocation.releases_at is None
                or allocation.releases_at > now
            ):
                return False
            is_ttl = allocation.ttl_seconds is not None
            words = "Its time to live is over." if is_ttl else "It was scheduled to end now."
            cause = Cause(actor="gpucloud", at=now, reason=words)
            await begin_release(unit, self.ids, allocation, cause)
            await unit.audit(_by_us(allocation, "ttl" if is_ttl else "schedule"))
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseUnfunded:
    """Carry out a tenant's end-of-balance plan."""

    transactions: Transactions[AllocationUnit]
    ids: Ids

    async def __call__(self, tenant_id: TenantId) -> int:
        """Release what the money no longer pays for; return how many allocations."""
        async with self.transactions.begin(Scope.platform()) as unit:
            account = await lock_account(unit, tenant_id)
            now = await unit.now()
            plan = await end_of_balance(unit, account, now)
            # All meters first: a reserve that is returned must not pay for what ended with it.
            for allocation_id, paid_until in sorted(plan.items()):
                await end_segment(unit, account, allocation_id, paid_until)
            done = 0
            for allocation_id in sorted(plan):
                allocation = await unit.allocations.lock(allocation_id)
                if allocation is None or allocation.state not in MAY_EXPIRE:
                    continue
                cause = Cause(actor="gpucloud", at=now, reason="The balance is used up.")
                await begin_release(unit, self.ids, allocation, cause)
                await unit.audit(_by_us(allocation, "balance"))
                done += 1
        return done
