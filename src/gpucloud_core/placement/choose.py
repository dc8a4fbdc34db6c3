"""Where a request goes: the best set its links allow, at the least cost to launches to come.

One slice is decided in four steps: keep what fits (region, model and runtime are the pool; size,
fabric, CPU and memory are the kind), prefer the best quality of links, then the least expected
loss of future capacity, then the lowest node id. Several slices are a sequence of such decisions,
each on the image that the earlier ones left, or, where they are to be together, one decision of
its own (see ``gangs``); nothing is changed for good.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Final, NamedTuple

from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.placement import gangs
from gpucloud_core.placement.fleet_image import FleetImage
from gpucloud_core.placement.model import Place, Placement, PlacementRequest, Refusal, Spread
from gpucloud_core.placement.orders import Ask, Bucket, Order, Pool, Ranked
from gpucloud_core.placement.refuse import refuse, too_far_apart

HOW_MANY_MAX: Final = 64


class Chosen(NamedTuple):
    """One slice's place, and what the decision rested on."""

    place: Place
    scores: dict[str, int]


def choose(
    request: PlacementRequest,
    image: FleetImage,
    *,
    held: Sequence[Place] = (),
    busy: Collection[NodeId] = (),
) -> Placement | Refusal:
    """Return a place for each slice asked for, or every reason why not all of them fit.

    ``busy`` are nodes that are kept off, as if they were not there. ``held`` are places that this
    batch has already, and that the image shows as taken; slices on different nodes keep away from
    them, slices together stay in reach of them.
    """
    is_one = request.count == 1 and not held
    if is_one and (chosen := _one(request, image, busy)) is not None:
        return _placement((chosen,))
    with image.scratch():
        for node_id in busy:
            image.remove(node_id)
        if is_one:
            return refuse(request, image, how_many=how_many)
        return _several(request, image, held)


def _several(
    request: PlacementRequest, image: FleetImage, held: Sequence[Place]
) -> Placement | Refusal:
    if request.together:
        return _gang(request, image, held)
    found: list[Chosen] = []
    near = [place.node_id for place in held]
    is_distinct = request.spread is Spread.DISTINCT_NODES
    with image.scratch():
        if is_distinct:
            for node_id in near:
                image.remove(node_id)
        for _ in range(request.count):
            chosen = _one(request, image)
            if chosen is None:
                left_out = len(set(near)) if is_distinct else 0
                return refuse(
                    request, image, how_many=how_many, fits_now=len(found), left_out=left_out
                )
            found.append(chosen)
            near.append(chosen.place.node_id)
            if is_distinct:
                image.remove(chosen.place.node_id)
            else:
                image.take(chosen.place, request)
    return _placement(found)


def _gang(
    request: PlacementRequest, image: FleetImage, held: Sequence[Place]
) -> Placement | Refusal:
    """Return places for all members as near to each other as there is room, or why not."""
    pool = image.pools.get(request.pool)
    rooms = {} if pool is None else _rooms(request, image, pool, held)
    paths = [row.fabric for place in held if (row := image.get(place.node_id)) is not None]
    while (
        gang := gangs.nearest(rooms.values(), request.count, held=paths, within=request.within)
    ) is not None:
        found = _stand(request, image, gang)
        if isinstance(found, list):
            kept = gangs.figures(gang, request.count + len(held))
            return _placement([Chosen(one.place, {**one.scores, **kept}) for one in found])
        node_id, fits = found  # its GPUs make fewer sets than there are
        rooms[node_id] = rooms[node_id]._replace(capacity=fits)
    apart = choose(replace(request, together=False), image, held=held)
    if isinstance(apart, Refusal):
        return apart
    most, level = gangs.most_together(rooms.values(), within=request.within)
    return too_far_apart(request, most, level)


def _rooms(
    request: PlacementRequest, image: FleetImage, pool: Pool, held: Sequence[Place]
) -> dict[NodeId, gangs.Room]:
    """Return every node that could take a member, with how many it could at most."""
    is_distinct = request.spread is Spread.DISTINCT_NODES
    left_out = {place.node_id for place in held} if is_distinct else set()
    order, found = pool.order(Ask.of(request)), {}
    for ranked in order.ranked:
        for node_id in ranked.entry.bucket.nodes:
            row = image.row(node_id)
            if node_id in left_out or not image.has_share(node_id, order.ask):
                continue
            most = 1
            if row.shared and not is_distinct and not request.whole_node:
                most = min(
                    row.free_with(request.beside).bit_count() // request.gpu_count,
                    row.free_vcpus // request.vcpus if request.vcpus else request.count,
                    row.free_memory_mib // request.memory_mib
                    if request.memory_mib
                    else request.count,
                )
            found[node_id] = gangs.Room(node_id, row.fabric, most, ranked.goodness)
    return found


def _stand(
    request: PlacementRequest, image: FleetImage, gang: gangs.Gang
) -> list[Chosen] | tuple[NodeId, int]:
    """Return the members' sets, or a node that has fewer than it was to give, and how many."""
    found: list[Chosen] = []
    with image.scratch():
        for node_id, count in gang.counts:
            for number in range(count):
                chosen = _near(request, image, [node_id])
                if chosen is None:
                    return node_id, number
                found.append(chosen)
                image.take(chosen.place, request)
    return found


def how_many(request: PlacementRequest, image: FleetImage, cap: int = HOW_MANY_MAX) -> int:
    """Return how many such single launches would succeed now, one after another, up to ``cap``."""
    single = replace(request, count=1)
    count = 0
    with image.scratch():
        while count < cap and (chosen := _one(single, image)) is not None:
            image.take(chosen.place, single)
            count += 1
    return count


def _one(
    request: PlacementRequest, image: FleetImage, busy: Collection[NodeId] = ()
) -> Chosen | None:
    pool = image.pools.get(request.pool)
    if pool is None:
        return None
    order = pool.order(Ask.of(request))
    best: tuple[NodeId, Ranked] | None = None
    goodness: tuple[int, ...] = ()
    for ranked in order.ranked:  # from the best kinds that have a node to the worst
        if best is not None and ranked.goodness != goodness:
            break
        entry = ranked.entry
        ask = None if entry.is_sure else order.ask
        node_id = _first(entry.bucket, ask, image, busy)
        if node_id is not None and (best is None or node_id < best[0]):
            best, goodness = (node_id, ranked), ranked.goodness
    if best is None:
        return None
    return _chosen(best[0], best[1], image, order)


def _near(request: PlacementRequest, image: FleetImage, near: Sequence[NodeId]) -> Chosen | None:
    """Return the best place on a node that the batch holds already, or None."""
    pool = image.pools.get(request.pool)
    if pool is None:
        return None
    order = pool.order(Ask.of(request))
    best: tuple[tuple[int, ...], NodeId, Ranked] | None = None
    for node_id in dict.fromkeys(near):
        bucket = image.bucket_of(node_id)
        ranked = None if bucket is None else order.rated(bucket)
        if ranked is not None and image.has_share(node_id, order.ask):
            found = ranked.goodness, node_id, ranked
            best = found if best is None else min(best, found, key=itemgetter(0, 1))
    if best is None:
        return None
    return _chosen(best[1], best[2], image, order, candidates=len(set(near)))


def _first(
    bucket: Bucket, ask: Ask | None, image: FleetImage, busy: Collection[NodeId]
) -> NodeId | None:
    """Return the lowest node of the kind that is not busy and has the CPUs and the memory."""
    if bucket.first not in busy and (ask is None or image.has_share(bucket.first, ask)):
        return bucket.first
    for node_id in bucket.in_order():
        if node_id not in busy and (ask is None or image.has_share(node_id, ask)):
            return node_id
    return None


def _chosen(
    node_id: NodeId,
    ranked: Ranked,
    image: FleetImage,
    order: Order,
    *,
    candidates: int | None = None,
) -> Chosen:
    row, beside = image.row(node_id), order.ask.beside
    mask = ranked.entry.sets.realise(ranked.chosen, row.free_with(beside), row.spare(beside))
    place = Place(node_id=node_id, mask=mask, node_version=row.version)
    able = order.candidates() if candidates is None else candidates
    return Chosen(place, {"candidates": able, **ranked.scores, **order.supply.left()})


def _placement(found: Sequence[Chosen]) -> Placement:
    scores = found[0].scores
    if len(found) > 1:
        scores = {
            f"{number}.{name}": figure
            for number, chosen in enumerate(found)
            for name, figure in chosen.scores.items()
        }
    return Placement(
        places=tuple([chosen.place for chosen in found]),
        candidates=found[0].scores["candidates"],
        scores=scores,
    )


def scores_of(placement: Placement, number: int) -> dict[str, int]:
    """Return the figures of one place of a decision, as a claim keeps them."""
    if len(placement.places) == 1:
        return dict(placement.scores)
    prefix = f"{number}."
    return {
        name.removeprefix(prefix): figure
        for name, figure in placement.scores.items()
        if name.startswith(prefix)
    }
