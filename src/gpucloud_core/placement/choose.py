"""Where a request goes: the best set its links allow, at the least cost to launches to come.

One slice is decided in four steps: keep what fits (region, model and runtime are the pool; size,
fabric, CPU and memory are the kind), prefer the best quality of links, then the least expected
loss of future capacity, then the lowest node id. Several slices are a sequence of such decisions,
each on the image that the earlier ones left; nothing is changed for good.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.placement.fleet_image import Ask, FleetImage, Ranked
from gpucloud_core.placement.future import LOSS_UNIT
from gpucloud_core.placement.model import Place, Placement, PlacementRequest, Refusal, Spread
from gpucloud_core.placement.refuse import refuse
from gpucloud_core.placement.sets import bits

HOW_MANY_MAX: Final = 64


class Chosen(NamedTuple):
    """One slice's place, and what the decision rested on."""

    place: Place
    candidates: int
    entry: Ranked
    mix_weight: int


def choose(
    request: PlacementRequest, image: FleetImage, *, held: Sequence[Place] = ()
) -> Placement | Refusal:
    """Return a place for each slice asked for, or every reason why not all of them fit.

    ``held`` are places that this batch has already, and that the image shows as taken; slices
    on different nodes keep away from them, slices together come near them.
    """
    if request.count == 1 and not held:
        chosen = _one(request, image)
        if chosen is None:
            return refuse(request, image, how_many=how_many)
        return _placement((chosen,))
    found: list[Chosen] = []
    near = [place.node_id for place in held]
    is_distinct = request.spread is Spread.DISTINCT_NODES
    with image.scratch():
        if is_distinct:
            for node_id in near:
                image.remove(node_id)
        for _ in range(request.count):
            chosen = _near(request, image, near) if request.together else None
            chosen = chosen or _one(request, image)
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


def how_many(request: PlacementRequest, image: FleetImage, cap: int = HOW_MANY_MAX) -> int:
    """Return how many such single launches would succeed now, one after another, up to ``cap``."""
    single = replace(request, count=1)
    count = 0
    with image.scratch():
        while count < cap and (chosen := _one(single, image)) is not None:
            image.take(chosen.place, single)
            count += 1
    return count


def _one(request: PlacementRequest, image: FleetImage) -> Chosen | None:
    pool = image.pools.get(request.pool)
    if pool is None:
        return None
    order = image.order(pool, Ask.of(request))
    filled = order.filled
    while filled:
        peers = order.peers[(filled & -filled).bit_length() - 1]
        best: tuple[NodeId, Ranked] | None = None
        for position in bits(filled & peers):
            entry = order.ranked[position]
            node_id = _lowest(entry, order.ask, image)
            if node_id is not None and (best is None or node_id < best[0]):
                best = node_id, entry
        if best is not None:
            return _chosen(best[0], best[1], image, order.ask, order.candidates)
        filled &= ~peers
    return None


def _near(request: PlacementRequest, image: FleetImage, near: Sequence[NodeId]) -> Chosen | None:
    """Return the best place on a node that the batch holds already, or None."""
    ask, best = Ask.of(request), None
    for node_id in dict.fromkeys(near):
        bucket = image.bucket_of(node_id)
        entry = None if bucket is None else image.rank(bucket, ask)
        if entry is not None and image.has_share(node_id, ask):
            key = (*(-part for part in entry.quality), entry.loss, node_id)
            if best is None or key < best[0]:
                best = key, node_id, entry
    return None if best is None else _chosen(best[1], best[2], image, ask, len(set(near)))


def _lowest(entry: Ranked, ask: Ask, image: FleetImage) -> NodeId | None:
    lowest = entry.bucket.lowest()
    if entry.is_sure or image.has_share(lowest, ask):
        return lowest
    fitting = (node_id for node_id in entry.bucket.nodes if image.has_share(node_id, ask))
    return min(fitting, default=None)


def _chosen(node_id: NodeId, entry: Ranked, image: FleetImage, ask: Ask, candidates: int) -> Chosen:
    row = image.row(node_id)
    mask = entry.sets.realise(entry.chosen, row.free_mask & row.approved_mask)
    place = Place(node_id=node_id, mask=mask, node_version=row.version)
    return Chosen(place, candidates, entry, sum(weight for _, weight in ask.mix))


def _placement(found: Sequence[Chosen]) -> Placement:
    if len(found) == 1:
        scores = _scores(found[0])
    else:
        scores = {
            f"{number}.{name}": figure
            for number, chosen in enumerate(found)
            for name, figure in _scores(chosen).items()
        }
    return Placement(
        places=tuple(chosen.place for chosen in found),
        candidates=found[0].candidates,
        scores=scores,
    )


def _scores(chosen: Chosen) -> dict[str, int]:
    entry = chosen.entry
    return {
        "candidates": chosen.candidates,
        "worst_link": entry.quality.worst_link,
        "links": entry.quality.links,
        "numa_domains": -entry.quality.numa_locality,
        "loss": entry.loss // LOSS_UNIT,
        "loss_fine": entry.loss % LOSS_UNIT,
        "mix_weight": chosen.mix_weight,
    }


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
