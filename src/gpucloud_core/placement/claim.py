"""Claiming: decide on this process's view, bind in the database, give way when someone is faster.

The claim succeeds only if the set is still free. Nobody waits for a node that another launch is
busy with while there is another place. A lost race refreshes the view and decides again, at most
five times; then the database itself picks among the nodes that nobody else has locked.
The number of statements depends on how many slices are asked for, never on the size of the fleet.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.placement.choose import choose, scores_of
from gpucloud_core.placement.fleet_image import FleetImage
from gpucloud_core.placement.fleet_view import Errand, FleetView
from gpucloud_core.placement.model import (
    Claim,
    NodeCapacity,
    Place,
    Placement,
    PlacementRequest,
    Reason,
    Refusal,
    RefusalCode,
)
from gpucloud_core.placement.ports import PlacementUnit
from gpucloud_core.placement.promised import PromisesMet
from gpucloud_core.placement.promises import Promise, keep

__all__ = ["FleetView", "MakeClaim", "claim_all", "preview"]

RETRIES: Final = 5
_MASKS_ASKED: Final = 1024  # sets named in the statement of last resort, best first
_SPARE_NODES: Final = 4  # locked beyond what is needed, in case one lacks CPUs or memory

MakeClaim = Callable[[Place], Claim]


async def preview(
    unit: PlacementUnit,
    fleet: FleetView,
    request: PlacementRequest,
    promises: PromisesMet | None = None,
) -> Placement | Refusal:
    """Decide without taking anything. The unit has made no claims of its own."""
    fresh = await fleet.refresh(unit, promised_in=request.pool if promises else "")
    promised = promises.among(fresh.promises) if promises else []
    with fleet.image.scratch():
        keep(promised, fleet.image)
        return choose(request, fleet.image)


async def claim_all(
    unit: PlacementUnit,
    fleet: FleetView,
    request: PlacementRequest,
    make_claim: MakeClaim,
    *,
    errand: Errand | None = None,
    beside: Sequence[Place] = (),
    promises: PromisesMet | None = None,
) -> tuple[Claim, ...] | Refusal:
    """Bind a place for every slice of ``request``, in this transaction, or none.

    ``errand`` was begun before the transaction and ends after it. ``beside`` are the committed
    places of slices that those of ``request`` join: apart from them or near them, as it asks.
    ``promises`` are kept: others find room for them afterwards.

    ``make_claim`` gives each place its ids; what the decision rested on is added here. Called
    once per unit, before it claims anything else. After a refusal nothing is left bound: what a
    batch had taken before it failed is given back.
    """
    batch = _Batch(unit, fleet, request, make_claim, errand or Errand(Counter()), beside, promises)
    for _ in range(1 + RETRIES):
        decision = await batch.decide()
        if isinstance(decision, Refusal):
            return await batch.give_up(decision)
        if await batch.take(decision):
            return tuple(batch.taken)
    return await batch.last_resort()


class _Batch:
    """One call's own state: what it has taken, and its rows as only it can see them."""

    def __init__(
        self,
        unit: PlacementUnit,
        fleet: FleetView,
        request: PlacementRequest,
        make_claim: MakeClaim,
        errand: Errand,
        beside: Sequence[Place],
        promises: PromisesMet | None,
    ) -> None:
        self._unit = unit
        self._fleet = fleet
        self._request = request
        self._make_claim = make_claim
        self._errand = errand
        self._beside = beside
        self._promises = promises
        self._promised: list[Promise] = []
        self._places: list[Place] = []
        self._lost: dict[NodeId, int] = {}  # a node where someone was faster, and its version
        self._may_wait = False
        self.taken: list[Claim] = []

    @property
    def _left(self) -> PlacementRequest:
        return replace(self._request, count=self._request.count - len(self.taken))

    async def decide(self) -> Placement | Refusal:
        """Choose where nobody is busy; where everything is taken so, among all nodes.

        Promises are read with the fleet, as both stood at one moment. Where the image has become
        newer, a promise that was used meanwhile may stand on both lists; so nothing is refused
        over a promise that is gone.
        """
        while True:
            decision = await self._decide()
            kept = self._promised
            if not isinstance(decision, Refusal) or not kept or await self._promises_met() == kept:
                return decision

    async def _promises_met(self) -> list[Promise]:
        self._promised = await self._promises.of_others() if self._promises else []
        return self._promised

    async def _decide(self) -> Placement | Refusal:
        own = frozenset(place.node_id for place in self._places)
        pool = self._request.pool if self._promises else ""
        rows, promises = await self._fleet.refresh(self._unit, own=own, promised_in=pool)
        self._promised = self._promises.among(promises) if self._promises else []
        image = self._fleet.image
        taken = {
            node_id
            for node_id, version in self._lost.items()
            if (row := image.get(node_id)) is not None and row.version == version
        }
        avoided = (self._errand.others() | taken) - own
        self._may_wait = False
        decision = self._choose(image, rows, avoided)
        if isinstance(decision, Refusal) and avoided:
            self._may_wait = True
            decision = self._choose(image, rows)
        return decision

    def _choose(
        self,
        image: FleetImage,
        rows: Sequence[NodeCapacity],
        avoided: Collection[NodeId] = (),
    ) -> Placement | Refusal:
        with image.scratch():
            for row in rows:
                image.put(row)
            keep(self._promised, image)
            held = (*self._beside, *self._places)
            return choose(self._left, image, held=held, busy=avoided)

    async def take(self, decision: Placement) -> bool:
        """Bind the places in turn; False at the first that someone else was faster at."""
        for number, place in enumerate(decision.places):
            claim = replace(self._make_claim(place), explanation=scores_of(decision, number))
            self._errand.begin(place.node_id)
            if not await self._unit.fleet.take(claim, may_wait=self._may_wait):
                self._errand.end(place.node_id)
                self._lost[place.node_id] = place.node_version
                return False
            self._places.append(place)
            self.taken.append(claim)
        return True

    async def last_resort(self) -> tuple[Claim, ...] | Refusal:
        """Let the database pick among the nodes that no one else is busy with.

        It sees these nodes alone, and so not what is promised elsewhere: then nothing is picked.
        """
        if self._promised:
            return await self.give_up(await self._why())
        rows = await self._unit.fleet.lowest(
            pool=self._request.pool,
            masks=self._masks(),
            beside=self._request.beside,
            limit=self._request.count + len(self._places) + len(self._beside) + _SPARE_NODES,
        )
        self._may_wait = True
        decision = self._choose(self._fleet.image.of_rows(rows), ())
        if isinstance(decision, Placement) and await self.take(decision):
            return tuple(self.taken)
        return await self.give_up(await self._why())

    def _masks(self) -> list[int]:
        """Return the sets that would do, best first, of every class in the pool."""
        pool = self._fleet.image.pools.get(self._request.pool)
        kinds = pool.open.values() if pool else ()
        classes = {id(bucket.sets): bucket.sets for bucket in kinds if bucket.sets}
        wanted: dict[int, None] = {}
        for sets in classes.values():
            for _, kind in sets.ranked(self._request.gpu_count):
                wanted.update(dict.fromkeys(islice(sets.alike(kind), _MASKS_ASKED)))
        return list(wanted)[:_MASKS_ASKED]

    async def _why(self) -> Refusal:
        decision = await self.decide()
        if isinstance(decision, Refusal):
            return decision
        reason = Reason(
            code=RefusalCode.SOLD_OUT,
            detail="Others are claiming the last ones at this moment.",
        )
        return Refusal(reasons=(reason,), nearest="Try again in a few seconds.")

    async def give_up(self, refusal: Refusal) -> Refusal:
        for claim in reversed(self.taken):
            await self._unit.fleet.give_back(replace(claim, released_at=claim.claimed_at))
        return replace(refusal, fits_now=refusal.fits_now + len(self.taken))
