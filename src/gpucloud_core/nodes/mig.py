"""Multi-instance GPUs: which instances may lie beside each other on one GPU, and what is left.

An instance covers a run of memory slices and takes some of the compute slices; the driver accepts
a run only at certain starts. A *layout* is the set of instances of one GPU. It is legal while no
memory slice is covered twice, the compute slices suffice, and no profile is used more often than
it may be; so a part of a legal layout is always legal, and a layout can grow one by one.

Source: ``nvidia-smi mig -lgipp`` and ``-lgip`` as quoted in NVIDIA's MIG User Guide (A100, A30,
H100) and MIG manager's own configurations (H200, B200, B300), read 2026-11-22. Some published
mock tables give sizes 3 and 7 for the 3g and 7g profiles; the hardware prints 4 and 8.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class MigProfile:
    """One size of instance.

    Attributes:
        id: the driver's number of it, unique within a geometry.
        compute, memory: slices taken.
        starts: memory slices at which it may begin.
        most: how many of it one GPU may have.
        media: it has the GPU's media engines to itself.
    """

    id: int
    compute: int
    memory: int
    starts: tuple[int, ...]
    most: int
    media: bool = False


class Instance(NamedTuple):
    """A profile at its place."""

    profile_id: int
    start: int


@dataclass(frozen=True, kw_only=True)
class MigGeometry:
    """How the GPUs of one family can be divided."""

    name: str
    memory_slices: int
    compute_slices: int
    profiles: tuple[MigProfile, ...]
    by_id: Mapping[int, MigProfile] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_id", {profile.id: profile for profile in self.profiles})

    @cached_property
    def instances(self) -> tuple[Instance, ...]:
        """Every instance that a GPU alone could have."""
        return tuple(
            Instance(profile.id, start) for profile in self.profiles for start in profile.starts
        )

    def is_legal(self, layout: Iterable[Instance]) -> bool:
        """Return whether one GPU can have exactly these instances at once."""
        covered = compute = 0
        used: dict[int, int] = {}
        for instance in layout:
            profile = self.by_id.get(instance.profile_id)
            if profile is None or instance.start not in profile.starts:
                return False
            slices = self._slices(instance)
            if covered & slices:
                return False
            covered |= slices
            compute += profile.compute
            used[profile.id] = used.get(profile.id, 0) + 1
            if used[profile.id] > profile.most:
                return False
        media = sum(count for number, count in used.items() if self.by_id[number].media)
        return compute <= self.compute_slices and media <= 1

    def places(self, layout: Iterable[Instance], profile_id: int) -> tuple[Instance, ...]:
        """Return where one more of the profile fits beside ``layout``, lowest start first."""
        there = tuple(layout)
        profile = self.by_id.get(profile_id)
        starts = sorted(profile.starts) if profile else ()
        return tuple(
            instance
            for instance in (Instance(profile_id, start) for start in starts)
            if self.is_legal((*there, instance))
        )

    def layouts(self) -> Iterator[frozenset[Instance]]:
        """Yield every legal layout once, the empty one first."""
        every = self.instances

        def grown(layout: tuple[Instance, ...], begin: int) -> Iterator[frozenset[Instance]]:
            yield frozenset(layout)
            for position in range(begin, len(every)):
                larger = (*layout, every[position])
                if self.is_legal(larger):
                    yield from grown(larger, position + 1)

        return grown((), 0)

    def _slices(self, instance: Instance) -> int:
        return (1 << self.by_id[instance.profile_id].memory) - 1 << instance.start


_ANY: Final = (0, 1, 2, 3, 4, 5, 6)

EIGHT_SLICES: Final = MigGeometry(
    name="8 memory slices, 7 compute slices",
    memory_slices=8,
    compute_slices=7,
    profiles=(
        MigProfile(id=19, compute=1, memory=1, starts=_ANY, most=7),
        MigProfile(id=20, compute=1, memory=1, starts=_ANY, most=1, media=True),
        MigProfile(id=15, compute=1, memory=2, starts=(0, 2, 4, 6), most=4),
        MigProfile(id=14, compute=2, memory=2, starts=(0, 2, 4), most=3),
        MigProfile(id=9, compute=3, memory=4, starts=(0, 4), most=2),
        MigProfile(id=5, compute=4, memory=4, starts=(0,), most=1),
        MigProfile(id=0, compute=7, memory=8, starts=(0,), most=1),
    ),
)
"""A100, A800, H100, H200, B200, B300 and their kin."""

FOUR_SLICES: Final = MigGeometry(
    name="4 memory slices, 4 compute slices",
    memory_slices=4,
    compute_slices=4,
    profiles=(
        MigProfile(id=14, compute=1, memory=1, starts=(0, 1, 2, 3), most=4),
        MigProfile(id=21, compute=1, memory=1, starts=(0, 1, 2, 3), most=1, media=True),
        MigProfile(id=5, compute=2, memory=2, starts=(0, 2), most=2),
        MigProfile(id=6, compute=2, memory=2, starts=(0, 2), most=1, media=True),
        MigProfile(id=0, compute=4, memory=4, starts=(0,), most=1),
    ),
)
"""A30."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigModel:
    """A model as nodes report it: words that are all in its name, its memory, its profiles."""

    words: frozenset[str]
    memory_gib: int
    geometry: MigGeometry
    names: Mapping[int, str]


def _eight(words: str, memory_gib: int, sizes: tuple[int, ...]) -> MigModel:
    """``sizes`` are the gigabytes in the names: one slice, two, four, and all of them."""
    one, two, four, all_ = sizes
    names = {
        19: f"1g.{one}gb",
        20: f"1g.{one}gb+me",
        15: f"1g.{two}gb",
        14: f"2g.{two}gb",
        9: f"3g.{four}gb",
        5: f"4g.{four}gb",
        0: f"7g.{all_}gb",
    }
    return MigModel(
        words=frozenset(words.split()), memory_gib=memory_gib, geometry=EIGHT_SLICES, names=names
    )


MODELS: Final = (
    _eight("A100", 40, (5, 10, 20, 40)),
    _eight("A100", 80, (10, 20, 40, 80)),
    _eight("A800", 80, (10, 20, 40, 80)),
    _eight("H100", 80, (10, 20, 40, 80)),
    _eight("H100 NVL", 94, (12, 24, 47, 94)),
    _eight("GH200", 96, (12, 24, 48, 96)),
    _eight("H200", 141, (18, 35, 71, 141)),
    _eight("B200", 180, (23, 45, 90, 180)),
    _eight("B300", 269, (34, 67, 135, 269)),
    MigModel(
        words=frozenset({"A30"}),
        memory_gib=24,
        geometry=FOUR_SLICES,
        names={14: "1g.6gb", 21: "1g.6gb+me", 5: "2g.12gb", 6: "2g.12gb+me", 0: "4g.24gb"},
    ),
)


def mig_model(model: str, memory_mib: int) -> MigModel | None:
    """Return how GPUs of this model can be divided; None if we do not know of any way."""
    words = set(re.split(r"[^A-Za-z0-9]+", model.upper()))
    named = [known for known in MODELS if known.words <= words]
    fitting = max((len(known.words) for known in named), default=0)
    closest = [known for known in named if len(known.words) == fitting]
    return min(closest, key=lambda known: abs(known.memory_gib * 1024 - memory_mib), default=None)
