"""What people read of the waitlist: their entries with their position, and the forecast."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.errors import SkuNotOffered
from gpucloud_core.allocations.quote import placement_request
from gpucloud_core.allocations.request import LaunchRequest
from gpucloud_core.catalog.pools import pool_of
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import ProjectId, WaitlistId
from gpucloud_core.kernel.rows import ListQuery, Page
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.placement.fleet_view import FleetView
from gpucloud_core.placement.promises import in_force, keep
from gpucloud_core.waitlist.forecast import Forecast, Holder, forecast
from gpucloud_core.waitlist.model import WaitEntry, WaitState
from gpucloud_core.waitlist.ports import WaitlistUnit
from gpucloud_core.waitlist.turns import in_turn


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitLine:
    """An entry, and where it stands.

    ``position`` counts from 1 in its queue; ``queue`` is how many wait there. Both are None once
    it does not wait any more.
    """

    entry: WaitEntry
    position: int | None
    queue: int | None
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ListWaitlist:
    """A page of a project's entries, each with its position."""

    transactions: Transactions[WaitlistUnit]

    async def __call__(
        self, *, actor: Actor, project_id: ProjectId, query: ListQuery
    ) -> Page[WaitLine]:
        require(actor, Action.ALLOCATION_READ, tenant_id=actor.tenant_id, project_id=project_id)
        query = replace(query, where={**query.where, "project_id": (project_id,)})
        async with self.transactions.look(Scope.tenant(actor.tenant_id)) as unit:
            page = await unit.waitlist.page(query)
        places, now = await _places(self.transactions, page.items)
        lines = tuple(_line(entry, places, now) for entry in page.items)
        return Page(lines, page.next_cursor, page.prev_cursor)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadWaitEntry:
    """One entry of the actor's tenant."""

    transactions: Transactions[WaitlistUnit]

    async def __call__(self, *, actor: Actor, entry_id: WaitlistId) -> WaitLine:
        async with self.transactions.look(Scope.tenant(actor.tenant_id)) as unit:
            entry = await unit.waitlist.get(entry_id)
            if entry is None:
                raise NotFound("There is no waitlist entry with this id.")
            require(
                actor,
                Action.ALLOCATION_READ,
                tenant_id=entry.tenant_id,
                project_id=entry.project_id,
            )
        places, now = await _places(self.transactions, [entry])
        return _line(entry, places, now)


async def _places(
    transactions: Transactions[WaitlistUnit], entries: Sequence[WaitEntry]
) -> tuple[Mapping[str, tuple[int, int]], datetime]:
    """Return position and length of queue by entry: numbers only, though others stand in it."""
    pools = {entry.pool for entry in entries if entry.state is WaitState.WAITING}
    places: dict[str, tuple[int, int]] = {}
    async with transactions.look(Scope.platform()) as unit:
        for pool in sorted(pools):
            queue = in_turn(await unit.waitlist.find(pool=pool, state=WaitState.WAITING))
            places |= {entry.id: (at, len(queue)) for at, entry in enumerate(queue, start=1)}
        return places, await unit.now()


def _line(entry: WaitEntry, places: Mapping[str, tuple[int, int]], now: datetime) -> WaitLine:
    position, queue = places.get(entry.id, (None, None))
    return WaitLine(entry=entry, position=position, queue=queue, as_of=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitForecast:
    """The forecast for one size of a SKU, and how many wait for its pool."""

    sku_id: str
    gpu_count: int
    forecast: Forecast
    waiting: int
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadForecast:
    """When a size of a SKU can be free at the earliest, as far as timers tell."""

    transactions: Transactions[WaitlistUnit]
    fleet: FleetView

    async def __call__(self, *, actor: Actor, sku_id: str, gpu_count: int) -> WaitForecast:
        """Return it.

        Raises:
            SkuNotOffered: there is no such SKU, or not in this size.
        """
        require(actor, Action.CATALOG_READ, tenant_id=actor.tenant_id)
        async with self.transactions.look(Scope.platform()) as unit:
            sku = await unit.skus.get(sku_id)
            if sku is None or gpu_count not in sku.allowed_gpu_counts:
                raise SkuNotOffered(f"{sku_id[:80]!r} is not offered in this size.")
            await self.fleet.refresh(unit)
            pool = pool_of(sku)
            holders = await self._holders(unit, pool)
            waiting = await unit.waitlist.count(pool=pool, state=WaitState.WAITING)
            now = await unit.now()
            promised = in_force(await unit.promises.find(pool=pool), now)
        request = placement_request(sku, LaunchRequest(sku_id=sku_id, gpu_count=gpu_count))
        with self.fleet.image.scratch():
            keep((one for one in promised if one.user_id != actor.user_id), self.fleet.image)
            found = forecast(request, self.fleet.image, holders, now)
        return WaitForecast(
            sku_id=sku_id,
            gpu_count=gpu_count,
            forecast=found,
            waiting=waiting,
            as_of=now,
        )

    async def _holders(self, unit: WaitlistUnit, pool: str) -> list[Holder]:
        image = self.fleet.image
        nodes = [node for node in image.node_ids() if image.row(node).pool == pool]
        claims = await unit.claims.find_any("node_id", nodes, released_at=None)
        rows = await unit.allocations.find_any("id", [claim.allocation_id for claim in claims])
        ends = {row.id: row.releases_at for row in rows}
        return [
            Holder(
                node_id=claim.node_id,
                mask=claim.mask,
                vcpus=claim.vcpus,
                memory_mib=claim.memory_mib,
                ends_at=ends.get(claim.allocation_id),
            )
            for claim in claims
        ]
