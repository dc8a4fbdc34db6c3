"""What a what-if is asked with: a fleet, imagined or ours, and a demand, a mix or a trace.

All of it is checked here and turned into what ``what_if.play`` takes. Draws are made from the seed
by hashing, so that the same question has the same answer everywhere and for ever.
"""

import csv
import hashlib
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gpucloud_core.catalog.model import Beside
from gpucloud_core.kernel.errors import FieldError, NotFound, ValidationFailed
from gpucloud_core.kernel.ids import NodeId, SkuId
from gpucloud_core.nodes.beside import beside
from gpucloud_core.nodes.model import NodeMode
from gpucloud_core.nodes.systems import SYSTEMS
from gpucloud_core.placement.fleet_image import FleetImage
from gpucloud_core.placement.fleet_view import FleetView
from gpucloud_core.placement.model import (
    Claim,
    Demand,
    NodeCapacity,
    Place,
    PlacementRequest,
)
from gpucloud_core.placement.ports import PlacementUnit
from gpucloud_core.placement.what_if import Arrival, Held

IMAGINED: Final = "plan"
NODES_MAX: Final = 2_000
LAUNCHES_MAX: Final = 20_000
TRACE_MAX: Final = 5_000
MODES: Final = (NodeMode.CONTAINER, NodeMode.VM)
_ASKED: Final = 1.3  # GPUs asked for, of all there are, where no number is given
_HOUR: Final = 3600
Mix = Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanAsked:
    """A question.

    Attributes:
        pool: one of the platform's own; empty imagines ``nodes`` of a standard ``system``.
        mix: weights by GPU count.
        launches: how many are drawn; None is a third more than the fleet has GPUs for.
        every_seconds: from one to the next.
        stay_hours: the mean; None stays for good.
        trace: launches instead of drawn ones.
    """

    pool: str = ""
    system: str = "hgx-h200"
    nodes: int = 16
    mode: NodeMode = NodeMode.CONTAINER
    vcpus_per_gpu: int = 22
    memory_gib_per_gpu: int = 224
    beside: Beside = Beside.NOTHING  # with each GPU
    mix: Mix
    launches: int | None = None
    every_seconds: int = 60
    stay_hours: float | None = None
    seed: int = 1
    trace: tuple[Arrival, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The fleet to plan on: its image, its pool, and what stands there."""

    image: FleetImage
    pool: str
    held: tuple[Held, ...] = ()

    @property
    def gpus(self) -> int:
        rows = map(self.image.row, self.image.node_ids())
        return sum(row.approved_mask.bit_count() for row in rows)


def faults(asked: PlanAsked) -> Iterator[FieldError]:
    """Return everything that makes no sense in a question."""
    if asked.system not in SYSTEMS:
        yield FieldError("/system", "unknown", "Choose one of the standard systems.")
    if asked.mode not in MODES:
        yield FieldError("/mode", "unknown", "Choose containers or virtual machines.")
    for name in ("nodes", "launches", "every_seconds", "vcpus_per_gpu", "memory_gib_per_gpu"):
        value = getattr(asked, name)
        if value is not None and value < 1:
            yield FieldError(f"/{name}", "too_small", "Give at least 1.")
    if asked.stay_hours is not None and not 0 < asked.stay_hours <= 24 * 366:
        yield FieldError("/stay_hours", "out_of_range", "Give hours, up to a year.")
    if not asked.mix:
        yield FieldError("/mix", "empty", "Give at least one size with its weight.")


def too_much(asked: PlanAsked) -> Iterator[FieldError]:
    """Return what would take too long for a worker; the command takes what its machine can."""
    limits = (
        ("nodes", asked.nodes, NODES_MAX),
        ("launches", asked.launches or 1, LAUNCHES_MAX),
        ("every_seconds", asked.every_seconds, 24 * _HOUR),
        ("vcpus_per_gpu", asked.vcpus_per_gpu, 1_024),
        ("memory_gib_per_gpu", asked.memory_gib_per_gpu, 16_384),
        ("trace", len(asked.trace), TRACE_MAX),
    )
    for name, value, most in limits:
        if value > most:
            detail = f"Up to {most:,} here; `gpucloud plan` takes more."
            yield FieldError(f"/{name}", "too_large", detail)


def parse_mix(words: str) -> dict[int, int]:
    """Return weights by GPU count, from words such as ``1:60, 2:15, 8:10``.

    Raises:
        ValidationFailed: they are no mix.
    """
    detail = f"{words[:80]!r} is not a mix such as 1:60,2:15,8:10."
    try:
        pairs = [part.split(":") for part in words.split(",")]
        mix = {int(size): int(weight) for size, weight in pairs}
    except ValueError:
        raise _wrong("/mix", detail) from None
    if any(not 1 <= size <= 64 or weight < 1 for size, weight in mix.items()):  # noqa: PLR2004
        raise _wrong("/mix", "Sizes and weights of a mix start at 1; a size is up to 64.")
    return mix


def parse_trace(text: str) -> tuple[Arrival, ...]:
    """Return the launches of a CSV text, in order of time.

    The columns are ``at_seconds``, ``gpus`` and, where launches end, ``stays_seconds``.

    Raises:
        ValidationFailed: it is no such text.
    """
    try:
        found = [_arrival(row) for row in csv.DictReader(io.StringIO(text))]
    except (KeyError, ValueError, TypeError, OverflowError, csv.Error) as error:
        detail = f"A trace needs the columns at_seconds and gpus with numbers: {error}."
        raise _wrong("/trace", detail) from error
    if not found or any(not 1 <= arrival.gpu_count <= 64 for arrival in found):  # noqa: PLR2004
        raise _wrong("/trace", "A trace has at least one launch, each of 1 to 64 GPUs.")
    return tuple(sorted(found, key=lambda arrival: arrival.at_seconds))


def _arrival(row: Mapping[str, str]) -> Arrival:
    stays = row.get("stays_seconds")
    return Arrival(
        gpu_count=int(row["gpus"]),
        at_seconds=int(float(row["at_seconds"])),
        stays_seconds=int(float(stays)) if stays else None,
    )


def _wrong(field: str, detail: str) -> ValidationFailed:
    return ValidationFailed(detail, fields=[FieldError(field, "invalid", detail)])


def imagined(asked: PlanAsked) -> Ground:
    """Return a fleet that is not there: so many alike nodes, nothing on them."""
    system, image = SYSTEMS[asked.system], FleetImage()
    gpus = len(system.pci_addresses)
    devices = beside(system.topology(seed=""), asked.mode)
    disks = sum(1 << index for index, each in enumerate(devices) if each.disk)
    nics = sum(1 << index for index, each in enumerate(devices) if each.nic)
    for number in range(asked.nodes):
        image.put(
            NodeCapacity(
                node_id=NodeId(f"nod_{number:04d}"),
                pool=IMAGINED,
                system=system.name,
                mode=asked.mode,
                gpu_count=gpus,
                approved_mask=(1 << gpus) - 1,
                free_mask=(1 << gpus) - 1,
                free_vcpus=gpus * asked.vcpus_per_gpu,
                free_memory_mib=gpus * asked.memory_gib_per_gpu * 1024,
                sellable=True,
                disk_mask=disks,
                nic_mask=nics,
            )
        )
    return Ground(image=image, pool=IMAGINED)


async def as_it_is(unit: PlacementUnit, pool: str) -> Ground:
    """Return the nodes of a pool and the open claims on them, read once.

    Raises:
        NotFound: the platform has no node of this pool.
    """
    view = FleetView()
    await view.refresh(unit)
    claims = await unit.claims.find(released_at=None)
    whole = view.image
    rows = [row for row in map(whole.row, whole.node_ids()) if row.pool == pool]
    if not rows:
        raise NotFound(f"The platform has no node of the pool {pool!r}.")
    image = whole.of_rows(rows)
    held = [_held(claim, pool) for claim in claims if image.get(claim.node_id) is not None]
    return Ground(image=image, pool=pool, held=tuple(held))


def _held(claim: Claim, pool: str) -> Held:
    request = PlacementRequest(
        sku_id=SkuId("held"),
        pool=pool,
        gpu_count=claim.mask.bit_count(),
        vcpus=claim.vcpus,
        memory_mib=claim.memory_mib,
        whole_node=claim.whole_node,
        beside=claim.beside,
    )
    place = Place(node_id=claim.node_id, mask=claim.mask, node_version=0)
    return Held(place=place, request=request)


def requests_of(
    asked: PlanAsked, arrivals: Iterable[Arrival], pool: str
) -> dict[int, PlacementRequest]:
    """Return what a launch of each size asks for."""

    def share(size: int) -> tuple[int, int]:
        return size * asked.vcpus_per_gpu, size * asked.memory_gib_per_gpu * 1024

    demands = tuple(
        Demand(gpu_count=size, weight=weight, vcpus=share(size)[0], memory_mib=share(size)[1])
        for size, weight in asked.mix.items()
    )
    sizes = sorted({*asked.mix, *(arrival.gpu_count for arrival in arrivals)})
    return {
        size: PlacementRequest(
            sku_id=SkuId("plan"),
            pool=pool,
            gpu_count=size,
            vcpus=share(size)[0],
            memory_mib=share(size)[1],
            beside=asked.beside,
            demand_mix=demands,
        )
        for size in sizes
    }


def arrivals_of(asked: PlanAsked, gpus: int) -> Sequence[Arrival]:
    """Return the launches to come on a fleet of ``gpus``: the trace, or drawn from the mix."""
    if asked.trace:
        return asked.trace
    mean = sum(size * weight for size, weight in asked.mix.items()) / sum(asked.mix.values())
    number = asked.launches or min(LAUNCHES_MAX, max(1, int(gpus * _ASKED / mean)))
    return [
        Arrival(
            gpu_count=_size(asked, turn),
            at_seconds=turn * asked.every_seconds,
            stays_seconds=_stay(asked, turn),
        )
        for turn in range(number)
    ]


def _size(asked: PlanAsked, turn: int) -> int:
    left = _drawn(asked.seed, turn, "size") * sum(asked.mix.values())
    for size, weight in asked.mix.items():
        left -= weight
        if left < 0:
            return size
    return next(reversed(asked.mix))


def _stay(asked: PlanAsked, turn: int) -> int | None:
    """Return how long a launch stays; times between ends are as those of independent people."""
    if asked.stay_hours is None:
        return None
    return int(-asked.stay_hours * _HOUR * math.log(1 - _drawn(asked.seed, turn, "stay")))


def _drawn(seed: int, turn: int, what: str) -> float:
    """Return a number in [0, 1) that only these three decide."""
    digest = hashlib.sha256(f"{seed}/{turn}/{what}".encode()).digest()
    return int.from_bytes(digest[:6]) / (1 << 48)
