"""A launch as asked, read and priced; and the dry run, which takes nothing.

Launch and dry run read the same facts and look at the same checks, so that they always agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor, SshKey
from gpucloud_core.allocations.checks import Check, LaunchFacts, checks
from gpucloud_core.allocations.launch_rows import LaunchNames
from gpucloud_core.allocations.lifecycle import LIVE
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.request import LaunchRequest, field_errors
from gpucloud_core.allocations.saga import PROVISION
from gpucloud_core.billing import holds, meter
from gpucloud_core.billing.accounts import read_books
from gpucloud_core.billing.balance import hold_amount
from gpucloud_core.billing.books import Books
from gpucloud_core.billing.model import Balance, BillingAccount
from gpucloud_core.catalog.model import OsImage, Sku
from gpucloud_core.catalog.pools import pool_of
from gpucloud_core.catalog.prices import price_at, rate_micros_per_hour
from gpucloud_core.kernel.errors import NotFound, ValidationFailed
from gpucloud_core.kernel.ids import (
    AllocationId,
    ProjectId,
    SkuId,
)
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.metering.model import UsageSegment
from gpucloud_core.nodes.model import Node
from gpucloud_core.placement.choose import scores_of
from gpucloud_core.placement.claim import preview
from gpucloud_core.placement.explain import explain_to_tenant
from gpucloud_core.placement.fleet_view import FleetView
from gpucloud_core.placement.model import Demand, Placement, PlacementRequest, Refusal
from gpucloud_core.placement.promised import PromisesMet


@dataclass(frozen=True, slots=True, kw_only=True)
class WouldGo:
    """Where a machine would go, were it launched now: the node, its set, what else is free there.

    ``why`` are the same sentences that the workload would show once it stands.
    """

    node: Node
    mask: int
    free_mask: int
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """The verdict of a dry run, and what it would cost."""

    checks: tuple[Check, ...]
    places: tuple[WouldGo, ...] = ()  # none if it does not fit
    price_micros_per_hour: int
    hold_micros: int
    currency: str
    balance: Balance
    depletes_at: datetime | None  # after this launch
    as_of: datetime

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The request with everything it names, read and priced."""

    request: LaunchRequest
    sku: Sku | None
    image: OsImage | None
    keys: tuple[SshKey, ...]
    rate_micros_per_hour: int  # per machine
    hold_micros: int  # per machine
    gpus_held: int
    usual_seconds: Mapping[str, int]  # of the steps of a launch
    books: Books
    now: datetime

    @property
    def balance(self) -> Balance:
        return self.books.balance(self.now)

    def facts(self, refusal: Refusal | None) -> LaunchFacts:
        count = max(self.request.count, 1)
        return LaunchFacts(
            sku=self.sku,
            image=self.image,
            keys=self.keys,
            gpus_held=self.gpus_held,
            balance=self.balance,
            rate_micros_per_hour=self.rate_micros_per_hour * count,
            hold_micros=self.hold_micros * count,
            refusal=refusal,
        )

    def placement(self) -> PlacementRequest | None:
        if self.sku is None or self.request.gpu_count not in self.sku.allowed_gpu_counts:
            return None
        return placement_request(self.sku, self.request)

    def promises(
        self, unit: AllocationUnit, actor: Actor, project_id: ProjectId
    ) -> PromisesMet | None:
        """Return what is promised of the pool that this launch draws from."""
        wanted = self.placement()
        if wanted is None:
            return None
        return PromisesMet(unit, wanted, user_id=actor.user_id, project_id=project_id, now=self.now)


def placement_request(sku: Sku, request: LaunchRequest) -> PlacementRequest:
    """Return what placement is asked for; shares grow with the GPUs."""
    return PlacementRequest(
        sku_id=sku.id,
        pool=pool_of(sku),
        gpu_count=request.gpu_count,
        vcpus=sku.vcpus_per_gpu * request.gpu_count,
        memory_mib=sku.memory_mib_per_gpu * request.gpu_count,
        count=request.count,
        spread=request.spread,
        together=request.together,
        within=request.within,
        beside=sku.beside,
        demand_mix=tuple(
            Demand(
                gpu_count=size,
                weight=weight,
                vcpus=sku.vcpus_per_gpu * size,
                memory_mib=sku.memory_mib_per_gpu * size,
            )
            for size, weight in sku.demand_mix
        ),
    )


async def read_asked(
    unit: AllocationUnit,
    actor: Actor,
    project_id: ProjectId,
    request: LaunchRequest,
    account: BillingAccount,
) -> Asked:
    require(actor, Action.ALLOCATION_LAUNCH, tenant_id=actor.tenant_id, project_id=project_id)
    if faults := field_errors(request):
        raise ValidationFailed("Some fields of the launch need another look.", fields=faults)
    now = await unit.now()
    found = await unit.allocations.of_launch(
        LaunchNames(
            tenant_id=actor.tenant_id,
            sku_id=request.sku_id,
            ssh_key_ids=request.ssh_key_ids,
            saga=(PROVISION.kind, PROVISION.keys),
            live=tuple(LIVE),
        )
    )
    sku = found.sku
    if sku is not None and (not sku.active or request.region not in {None, sku.region}):
        sku = None
    image_id = request.image_id or (sku.image_ids[0] if sku and sku.image_ids else "")
    image = found.images.get(image_id) if sku else None
    own = tuple(
        key for key in found.keys if key.user_id == actor.user_id and key.deleted_at is None
    )
    price = price_at(found.prices, now) if sku else None
    rate = rate_micros_per_hour(price, request.gpu_count) if price else 0
    return Asked(
        request=request,
        sku=sku if price else None,
        image=image if image and image.active else None,
        keys=own,
        rate_micros_per_hour=rate,
        hold_micros=hold_amount(rate, account.reserve_minutes),
        gpus_held=found.gpus_held,
        usual_seconds=found.usual_seconds,
        books=await read_books(unit, account),
        now=now,
    )


def depletes_after(books: Books, hold: int, rate: int, now: datetime) -> datetime | None:
    """Return when the balance would be gone if this started now; None if it cannot start."""
    if rate == 0 or books.why_not(hold, now) is not None:
        return None
    tenant_id, imagined = books.account.tenant_id, AllocationId("alc_imagined")
    after = holds.held(
        books,
        hold_id="hld_imagined",
        allocation_id=imagined,
        micros=hold,
        run_on_reserve=False,
        now=now,
    )
    segment = UsageSegment(
        id="seg_imagined",
        tenant_id=tenant_id,
        project_id=ProjectId("prj_imagined"),
        allocation_id=imagined,
        sku_id=SkuId("imagined"),
        gpu_count=1,
        rate_micros_per_hour=rate,
        currency=books.account.currency,
        started_at=now,
        settled_until=now,
    )
    return meter.started(after, segment).run.depletes_at


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteLaunch:
    """The same verdict as a launch, without taking anything."""

    transactions: Transactions[AllocationUnit]
    fleet: FleetView

    async def __call__(
        self, *, actor: Actor, project_id: ProjectId, request: LaunchRequest
    ) -> Quote:
        """Return every check, the price, the hold, and when the balance would be gone.

        Raises:
            ValidationFailed: single fields make no sense.
            Forbidden: the actor may not launch here.
        """
        async with self.transactions.begin(Scope.tenant(actor.tenant_id)) as unit:
            account = await unit.billing_accounts.get(actor.tenant_id)
            if account is None:
                raise NotFound("There is no billing account of this tenant.")
            asked = await read_asked(unit, actor, project_id, request, account)
            wanted = asked.placement()
            refusal: Refusal | None = None
            places: tuple[WouldGo, ...] = ()
            if wanted is not None:
                promises = asked.promises(unit, actor, project_id)
                decision = await preview(unit, self.fleet, wanted, promises)
                if isinstance(decision, Refusal):
                    refusal = decision
                else:
                    places = await _would_go(unit, self.fleet, decision)
        rate = asked.rate_micros_per_hour * request.count
        hold = asked.hold_micros * request.count
        return Quote(
            checks=checks(request, asked.facts(refusal)),
            places=places,
            price_micros_per_hour=rate,
            hold_micros=hold,
            currency=account.currency,
            balance=asked.balance,
            depletes_at=depletes_after(asked.books, hold, rate, asked.now),
            as_of=asked.now,
        )


async def _would_go(
    unit: AllocationUnit, fleet: FleetView, decision: Placement
) -> tuple[WouldGo, ...]:
    ids = sorted({place.node_id for place in decision.places})
    nodes = {node.id: node for node in await unit.nodes.find_any("id", ids)}
    free = {node_id: row.free_mask for node_id in ids if (row := fleet.image.get(node_id))}
    found = []
    for number, place in enumerate(decision.places):
        if (node := nodes.get(place.node_id)) is None:
            continue
        left = free[place.node_id] = free.get(place.node_id, 0) & ~place.mask
        why = explain_to_tenant(scores_of(decision, number), gpu_count=place.mask.bit_count())
        found.append(WouldGo(node=node, mask=place.mask, free_mask=left, why=why))
    return tuple(found)
