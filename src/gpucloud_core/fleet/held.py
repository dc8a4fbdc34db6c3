"""Who holds a node: every open claim with its allocation and the person who launched it."""

from collections.abc import Sequence
from dataclasses import dataclass

from gpucloud_core.allocations.lifecycle import PublicStatus, public_status
from gpucloud_core.allocations.model import Allocation
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.kernel.errors import FieldError
from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.placement.model import Claim
from gpucloud_core.placement.rediscover import NodeInUse


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One open claim on a node: what holds it, and whose it is."""

    claim: Claim
    allocation: Allocation | None
    status: PublicStatus | None
    owner: str
    tenant: str

    @property
    def words(self) -> str:
        name = self.allocation.name if self.allocation else "an unknown allocation"
        return f"{name} ({self.claim.allocation_id}) of {self.owner or 'somebody'}"


async def holdings_on(unit: AllocationUnit, nodes: Sequence[NodeId]) -> tuple[Holding, ...]:
    """Return everything that holds these nodes, in order of node and first slot."""
    claims = await unit.claims.find_any("node_id", nodes, released_at=None)
    rows = await unit.allocations.find_any("id", [claim.allocation_id for claim in claims])
    users = await unit.users.find_any("id", list({row.user_id for row in rows}))
    tenants = await unit.tenants.find_any("id", list({row.tenant_id for row in rows}))
    by_id = {row.id: row for row in rows}
    names = {user.id: user.username for user in users}
    owners = {tenant.id: tenant.name for tenant in tenants}
    found = []
    for claim in sorted(claims, key=lambda c: (c.node_id, c.mask & -c.mask)):
        row = by_id.get(claim.allocation_id)
        found.append(
            Holding(
                claim=claim,
                allocation=row,
                status=public_status(row.state, cause=row.cause) if row else None,
                owner=names.get(row.user_id, "") if row else "",
                tenant=owners.get(claim.tenant_id, ""),
            )
        )
    return tuple(found)


def in_use(node_name: str, held: Sequence[Holding]) -> NodeInUse:
    """Return the refusal that names each allocation, its owner, and the way out."""
    named = ", ".join(one.words for one in held[:3])
    more = len(held) - 3
    rest = f" and {more} more" if more > 0 else ""
    return NodeInUse(
        f"{node_name} is held by {named}{rest}. {NodeInUse.next_step}",
        fields=[FieldError("", "held", f"{one.words} holds it.") for one in held],
    )
