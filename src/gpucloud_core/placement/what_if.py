"""What-if: what a fleet could take of a demand, and how it comes to be cut up on the way.

Launches arrive in turn, stay for their time and leave; each is placed by the same ``choose`` that
the product uses. Nothing is bound: the image is played forward and comes back as it was.

The advice looks for nodes that are partly used and whose slices would all fit on other nodes that
are partly used. Draining such a node makes a whole one free. It is shown, and never done by itself.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count
from typing import Final

from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.placement.choose import choose
from gpucloud_core.placement.explain import explain_refusal
from gpucloud_core.placement.fleet_image import FleetImage
from gpucloud_core.placement.model import (
    Place,
    Placement,
    PlacementRequest,
    RefusalCode,
)

MOMENTS_MAX: Final = 400  # points of a development


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One launch to come. Seconds count from the beginning; None stays for good."""

    gpu_count: int
    at_seconds: int = 0
    stays_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A slice that stands: where, and what it was asked as."""

    place: Place
    request: PlacementRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The fleet after so many launches have been asked for."""

    asked: int  # launches
    asked_gpus: int
    used_gpus: int
    refused: int  # launches so far
    room: Mapping[int, int]  # by GPU count: how many such launches there is room for


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What became of the launches of one size."""

    asked: int = 0
    placed: int = 0

    @property
    def refused(self) -> int:
        return self.asked - self.placed


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """A node that would be whole again if its slices stood elsewhere, and where they fit."""

    node_id: NodeId
    gpus_moved: int
    slices: int
    to: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What came of it."""

    gpus: int
    sizes: Mapping[int, Tally]
    moments: tuple[Moment, ...]
    reasons: Mapping[RefusalCode, int]  # one refusal may have several
    words: tuple[str, ...]  # the first refusal of each size, explained
    drains: tuple[Drain, ...] = field(default=())


def play(
    image: FleetImage,
    requests: Mapping[int, PlacementRequest],
    arrivals: Sequence[Arrival],
    *,
    held: Iterable[Held] = (),
) -> Outlook:
    """Play ``arrivals``, in order of time, against a fleet on which ``held`` stands already.

    ``requests`` says for each GPU count what such a launch asks for; all are of one pool.
    """
    game = _Game(image, requests, held)
    every = max(1, len(arrivals) // MOMENTS_MAX)
    with image.scratch():
        moments = [game.moment()]
        for number, arrival in enumerate(arrivals, start=1):
            game.arrive(arrival)
            if number % every == 0 or number == len(arrivals):
                moments.append(game.moment())
        advice = drains(image, game.standing())
    return Outlook(
        gpus=game.gpus,
        sizes={size: game.sizes[size] for size in sorted(game.sizes)},
        moments=tuple(moments),
        reasons=dict(game.reasons.most_common()),
        words=tuple(game.words[size] for size in sorted(game.words)),
        drains=advice,
    )


def drains(image: FleetImage, standing: Iterable[Held]) -> tuple[Drain, ...]:
    """Return which nodes could be made whole by moving what stands on them, one after another.

    Nodes with the least to move come first. No move breaks a whole node, and a node that others
    were moved to is not emptied later: the advice can be followed from top to bottom.
    """
    by_node: dict[NodeId, list[Held]] = {}
    for one in standing:
        by_node.setdefault(one.place.node_id, []).append(one)
    found: list[Drain] = []
    receiving: set[NodeId] = set()
    with image.scratch():
        for node_id in list(image.node_ids()):
            row = image.row(node_id)
            if row.free_mask == row.approved_mask:
                image.remove(node_id)  # whole already: nothing is moved there
        order = sorted(by_node, key=lambda node_id: (_gpus(by_node[node_id]), node_id))
        for node_id in order:
            if node_id in receiving or image.get(node_id) is None:
                continue
            targets = _moved(image, node_id, by_node[node_id])
            if targets:
                receiving.update(targets)
                found.append(
                    Drain(
                        node_id=node_id,
                        gpus_moved=_gpus(by_node[node_id]),
                        slices=len(by_node[node_id]),
                        to=tuple(sorted(set(targets))),
                    )
                )
    return tuple(found)


def _moved(image: FleetImage, node_id: NodeId, slices: Sequence[Held]) -> list[NodeId]:
    """Move the slices of a node to others, largest first; without room for all, change nothing."""
    before, taken = image.row(node_id), list[tuple[Place, PlacementRequest]]()
    image.remove(node_id)
    for one in sorted(slices, key=lambda one: -one.request.gpu_count):
        decision = choose(replace(one.request, count=1), image)
        if not isinstance(decision, Placement):
            for place, request in reversed(taken):
                _give_back(image, place, request)
            image.put(before)
            return []
        image.take(decision.places[0], one.request)
        taken.append((decision.places[0], one.request))
    return [place.node_id for place, _ in taken]


def _give_back(image: FleetImage, place: Place, request: PlacementRequest) -> None:
    row = image.row(place.node_id)
    image.put(
        replace(
            row,
            free_mask=row.free_mask | place.mask,
            free_vcpus=row.free_vcpus + request.vcpus,
            free_memory_mib=row.free_memory_mib + request.memory_mib,
        )
    )


def _gpus(slices: Iterable[Held]) -> int:
    return sum(one.place.mask.bit_count() for one in slices)


class _Game:
    """The state while arrivals are played."""

    def __init__(
        self,
        image: FleetImage,
        requests: Mapping[int, PlacementRequest],
        held: Iterable[Held],
    ) -> None:
        self._image = image
        self._requests = requests
        self._numbers = count()
        self._standing = {next(self._numbers): one for one in held}
        self._ends: list[tuple[int, int]] = []  # when, and whose
        self.gpus = sum(
            image.row(node_id).approved_mask.bit_count() for node_id in image.node_ids()
        )
        self.used = _gpus(self._standing.values())
        self.asked = self.asked_gpus = self.refused = 0
        self.sizes: dict[int, Tally] = {}
        self.reasons: Counter[RefusalCode] = Counter()
        self.words: dict[int, str] = {}

    def standing(self) -> Iterable[Held]:
        return self._standing.values()

    def arrive(self, arrival: Arrival) -> None:
        while self._ends and self._ends[0][0] <= arrival.at_seconds:
            self._leave(heappop(self._ends)[1])
        size = arrival.gpu_count
        decision = choose(self._requests[size], self._image)
        is_placed = isinstance(decision, Placement)
        before = self.sizes.get(size, Tally())
        self.sizes[size] = Tally(asked=before.asked + 1, placed=before.placed + is_placed)
        self.asked += 1
        self.asked_gpus += size
        if isinstance(decision, Placement):
            self._stand(decision.places[0], arrival)
            return
        self.refused += 1
        self.reasons.update(reason.code for reason in decision.reasons)
        if size not in self.words:
            gpus = "1 GPU" if size == 1 else f"{size} GPUs"
            self.words[size] = f"{gpus}: {' '.join(explain_refusal(decision))}"

    def _stand(self, place: Place, arrival: Arrival) -> None:
        request, number = self._requests[arrival.gpu_count], next(self._numbers)
        self._image.take(place, request)
        self._standing[number] = Held(place=place, request=request)
        self.used += arrival.gpu_count
        if arrival.stays_seconds is not None:
            heappush(self._ends, (arrival.at_seconds + arrival.stays_seconds, number))

    def _leave(self, number: int) -> None:
        one = self._standing.pop(number)
        _give_back(self._image, one.place, one.request)
        self.used -= one.place.mask.bit_count()

    def moment(self) -> Moment:
        room: dict[int, int] = {}
        for size, request in self._requests.items():
            pool = self._image.pools.get(request.pool)
            supply = pool.supply(request.demand_mix, request.beside) if pool else None
            room[size] = supply.of(size) if supply else 0
        return Moment(
            asked=self.asked,
            asked_gpus=self.asked_gpus,
            used_gpus=self.used,
            refused=self.refused,
            room=room,
        )
