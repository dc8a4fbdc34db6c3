"""Why nothing fits: every reason that holds, with figures, and the nearest thing that would fit.

The reasons are looked for kind by kind over the same image that the decision used, so that what a
refusal says and what the decision saw cannot differ. Each holds on its own: several may.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from gpucloud_core.catalog.model import Beside
from gpucloud_core.catalog.offers import AVAILABLE_MAX
from gpucloud_core.nodes.interconnect import Level
from gpucloud_core.placement.fleet_image import FleetImage
from gpucloud_core.placement.model import (
    PlacementRequest,
    Reason,
    Refusal,
    RefusalCode,
    Spread,
)
from gpucloud_core.placement.orders import Ask, Bucket, Pool

HowMany = Callable[[PlacementRequest, FleetImage], int]

_REASONS_NAMED: Final = 3
WITH: Final = {
    Beside.NOTHING: "",
    Beside.DISK: "with a local disk",
    Beside.NIC: "with a network port",
    Beside.BOTH: "with a local disk and a network port",
}
"""What comes with a GPU, to follow it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Room:
    """What nodes of one kind have for one slice of the request."""

    bucket: Bucket
    free: int  # GPUs free on each node that come with what is asked for
    bare: int  # GPUs free on each node, whatever comes with them
    can_ever: bool  # wholly free, such a node would give a set of the size asked for
    has_set: bool  # one is free now
    fits: bool  # and at least one of the nodes has the CPUs and the memory too

    @property
    def nodes(self) -> int:
        return len(self.bucket.nodes)


def refuse(
    request: PlacementRequest,
    image: FleetImage,
    *,
    how_many: HowMany,
    fits_now: int = 0,
    left_out: int = 0,
) -> Refusal:
    """Return the refusal of a request of which only ``fits_now`` slices found a place.

    ``left_out`` nodes are missing from the image because a slice of the same launch is there
    and each has to have a node of its own.
    """
    pool = image.pools.get(request.pool)
    if pool is None or pool.is_empty:
        if not left_out:
            reason = _reason(
                RefusalCode.NONE_IN_REGION, "No node of this kind is in service in this region."
            )
            return Refusal(reasons=(reason,), fits_now=fits_now)
        pool = Pool()
    rooms = [_room(bucket, request, image) for bucket in pool.open.values() if bucket.nodes]
    shut = [_room(bucket, request, image) for bucket in pool.shut.values() if bucket.nodes]
    reasons = tuple(_reasons(request, rooms, shut, fits_now, left_out))
    return Refusal(
        reasons=reasons, fits_now=fits_now, nearest=_nearest(request, image, how_many, fits_now)
    )


def too_far_apart(request: PlacementRequest, most: int, level: Level) -> Refusal:
    """Return the refusal of a gang for which there is room, but not near enough to each other."""
    things = "node is" if request.spread is Spread.DISTINCT_NODES else "machine fits"
    if most != 1:
        things = "nodes are" if request.spread is Spread.DISTINCT_NODES else "machines fit"
    free = " free" if request.spread is Spread.DISTINCT_NODES else ""
    where = level.within if level.name == request.within else f"within one {request.within}"
    detail = f"Only {most} {things}{free} {where}, and {request.count} were to be together."
    facts = {"together": most, "wanted": request.count}
    nearest = f"{most} of {request.count} fit together now." if most else ""
    reason = _reason(RefusalCode.APART, detail, **facts)
    return Refusal(reasons=(reason,), fits_now=most, nearest=nearest)


def _room(bucket: Bucket, request: PlacementRequest, image: FleetImage) -> _Room:
    sets, size, free = bucket.sets, request.gpu_count, bucket.kind.offers(request.beside)
    if request.systems and bucket.kind.system not in request.systems:
        can_ever = has_set = False
    elif sets is None:  # not learned yet: nothing is known but the number of its GPUs
        can_ever, has_set = True, free.bit_count() >= size
    elif request.whole_node:
        can_ever, has_set = sets.gpu_count == size, free == sets.all_mask
    else:
        can_ever, has_set = size in sets.sizes, sets.best(free, size) is not None
    ask = Ask.of(request)
    has_share = bucket.kind.surely_has(ask.vcpus, ask.memory_mib) or any(
        image.has_share(node_id, ask) for node_id in bucket.nodes
    )
    return _Room(
        bucket=bucket,
        free=free.bit_count(),
        bare=bucket.kind.free.bit_count(),
        can_ever=can_ever,
        has_set=can_ever and has_set,
        fits=can_ever and has_set and has_share,
    )


def _reasons(
    request: PlacementRequest,
    rooms: list[_Room],
    shut: list[_Room],
    fits_now: int,
    left_out: int,
) -> Iterator[Reason]:
    if not left_out and not any(room.can_ever for room in (*rooms, *shut)):
        yield _never(request, [*rooms, *shut])
        return
    able = [room for room in rooms if room.can_ever]
    if left_out:
        detail = f"Only {_nodes(left_out)} can take one, and each was to have a node of its own."
        yield _reason(RefusalCode.SPREAD, detail, nodes=left_out)
    else:
        yield from _too_few(able, request, fits_now)
    yield from _unfit(able, request)
    if away := [room for room in shut if room.fits]:
        count = sum(room.nodes for room in away)
        detail = f"{_nodes(count)} would have room, but {_is(count)} not sold now: {_why(away)}."
        yield _reason(RefusalCode.NODES_UNAVAILABLE, detail, nodes=count)


def _too_few(able: list[_Room], request: PlacementRequest, fits_now: int) -> Iterator[Reason]:
    """Yield that there are not enough free GPUs, in all or on any one node."""
    size, beside = request.gpu_count, request.beside
    after = f"After the {fits_now} that would fit, " if fits_now else ""
    total = sum(room.free * room.nodes for room in able)
    every = sum(room.bare * room.nodes for room in able)
    most = max((room.free for room in able), default=0)
    if total < size <= every:
        code = RefusalCode.STORAGE if _lacks_disks(able, request) else RefusalCode.NETWORK
        few = f"only {_told(total)} of them" if total else "none of them"
        detail = f"{after}{_gpus(every)} {_is(every)} free, but {few} {WITH[beside]}."
        yield _reason(code, _sentence(detail), free=every, able=total, wanted=size)
    elif total < size:
        left = f"only {_gpus(total)} {_is(total)} free." if total else "nothing is free now."
        yield _reason(RefusalCode.SOLD_OUT, _sentence(after + left), free=total, wanted=size)
    elif most < size:
        over = sum(room.nodes for room in able if room.free)
        sort = f" {WITH[beside]}" if beside is not Beside.NOTHING else ""
        detail = (
            f"{after}{_gpus(total)}{sort} are free, but on {_nodes(over)}: "
            f"at most {_gpus(most)} on one node."
        )
        facts = {"free": total, "nodes": over, "most_on_one_node": most}
        yield _reason(RefusalCode.NO_SINGLE_NODE, _sentence(detail), **facts)


def _lacks_disks(able: list[_Room], request: PlacementRequest) -> bool:
    """Tell whether it is disks that are too few, rather than ports."""
    with_disk = sum(room.bucket.kind.with_disk.bit_count() * room.nodes for room in able)
    return request.beside.has_disk and with_disk < request.gpu_count


def _unfit(able: list[_Room], request: PlacementRequest) -> Iterator[Reason]:
    """Yield what keeps nodes with enough free GPUs from being used."""
    size = request.gpu_count
    if apart := sum(room.nodes for room in able if room.free >= size and not room.has_set):
        detail = (
            f"{_nodes(apart)} {_has(apart)} {_gpus(size)} or more free, but not as a set "
            "that the fabric can join."
        )
        yield _reason(RefusalCode.TOPOLOGY, detail, nodes=apart)
    if short := sum(room.nodes for room in able if room.has_set and not room.fits):
        detail = (
            f"{_nodes(short)} {_has(short)} the GPUs free, but not the {request.vcpus} vCPUs "
            f"and {request.memory_mib // 1024} GiB of memory that go with them."
        )
        yield _reason(RefusalCode.SHARE, detail, nodes=short)


def _never(request: PlacementRequest, rooms: list[_Room]) -> Reason:
    sizes = {size for room in rooms if room.bucket.sets for size in room.bucket.sets.sizes}
    if request.whole_node:
        sizes = {room.bucket.sets.gpu_count for room in rooms if room.bucket.sets}
    offered = ", ".join(str(size) for size in sorted(sizes))
    possible = f" They can be had as {offered}." if offered else ""
    detail = f"These nodes cannot be cut into {_gpus(request.gpu_count)}.{possible}"
    return _reason(
        RefusalCode.COUNT_NOT_ALLOWED,
        detail,
        wanted=request.gpu_count,
        largest=max(sizes, default=0),
    )


def _nearest(request: PlacementRequest, image: FleetImage, how_many: HowMany, fits_now: int) -> str:
    """Return the largest smaller thing that would fit, in words; empty if nothing would."""
    if fits_now:
        return f"{fits_now} of {request.count} fit now."
    if request.whole_node:
        return ""
    offered = {demand.gpu_count for demand in request.demand_mix} or set(
        range(1, request.gpu_count)
    )
    for size in sorted(offered, reverse=True):
        if size < request.gpu_count:
            smaller = replace(
                request,
                gpu_count=size,
                vcpus=request.vcpus * size // request.gpu_count,
                memory_mib=request.memory_mib * size // request.gpu_count,
                count=1,
            )
            if times := how_many(smaller, image):
                return f"{_gpus(size)} {_fit(size)} now, {_times(times)}."
    return ""


def _why(rooms: list[_Room]) -> str:
    found: Counter[str] = Counter()
    for room in rooms:
        found.update({reason: n for reason, n in room.bucket.reasons.items() if n > 0})
    named = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
    words = [f"{reason} ({_told(count)})" for reason, count in named[:_REASONS_NAMED]]
    more = len(named) - len(words)
    return ", ".join(words) + (f" and {more} other reasons" if more > 0 else "")


def _reason(code: RefusalCode, detail: str, **facts: int) -> Reason:
    return Reason(code=code, detail=detail, facts=facts)


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:]


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{_told(count)} GPUs"


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{_told(count)} nodes"


def _told(count: int) -> str:
    """Return a number as tenants are told it: a fleet's size is nobody's business."""
    return str(count) if count <= AVAILABLE_MAX else f"more than {AVAILABLE_MAX}"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _has(count: int) -> str:
    return "has" if count == 1 else "have"


def _fit(size: int) -> str:
    return "fits" if size == 1 else "fit"


def _times(count: int) -> str:
    return "once" if count == 1 else f"up to {count} times"
