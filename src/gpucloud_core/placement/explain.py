"""Words for a decision, made from its stored figures when someone asks for them."""

from collections.abc import Mapping
from typing import Final

from gpucloud_core.catalog.model import Beside
from gpucloud_core.nodes.model import LinkClass
from gpucloud_core.placement import gangs
from gpucloud_core.placement.model import Refusal
from gpucloud_core.placement.refuse import WITH
from gpucloud_core.placement.sets import NVLINK_POINTS, PAIR_POINTS

_LINK_WORDS: Final = {
    PAIR_POINTS[LinkClass.SYS]: "across CPU sockets at worst",
    PAIR_POINTS[LinkClass.NODE]: "through host bridges of one socket at worst",
    PAIR_POINTS[LinkClass.PHB]: "through one PCIe host bridge at worst",
    PAIR_POINTS[LinkClass.PXB]: "through several PCIe switches at worst",
    PAIR_POINTS[LinkClass.PIX]: "through one PCIe switch",
}


def explain_placement(explanation: Mapping[str, int], *, gpu_count: int) -> tuple[str, ...]:
    """Return why a slice stands where it does, one sentence a step of the decision.

    ``explanation`` are the figures of its claim. One of an older release may lack figures; what is
    missing is left out. These words tell the size of the fleet: they are for operators.
    """
    said = []
    if (candidates := explanation.get("candidates")) is not None:
        said.append(_candidates(candidates))
    said += _own(explanation, gpu_count)
    if room := _room(explanation):
        said.append(room)
    said.append("Among equals, the node with the lowest id was taken.")
    return tuple(said)


def explain_to_tenant(explanation: Mapping[str, int], *, gpu_count: int) -> tuple[str, ...]:
    """Return the same for whoever runs there: no figure of the fleet, nothing of others."""
    said = []
    if candidates := explanation.get("candidates"):
        only = "This was the one place with room for it."
        said.append(only if candidates == 1 else "It was chosen among the places that had room.")
    said += _own(explanation, gpu_count)
    if _room(explanation):
        said.append(
            "Of the places as good for it, this one leaves the most room for launches to come, "
            "your next larger one among them."
        )
    return tuple(said)


def _own(explanation: Mapping[str, int], gpu_count: int) -> list[str]:
    """Return the sentences about nothing but the slice itself."""
    said = []
    if gpu_count > 1 and (worst := explanation.get("worst_link")):
        domains = explanation.get("numa_domains", 0)
        said.append(f"Its GPUs reach each other {_link(worst)}{_domains(domains)}.")
    if beside := _beside(explanation):
        said.append(beside)
    if gang := gangs.words(explanation):
        said.append(gang)
    return said


def explain_refusal(refusal: Refusal) -> tuple[str, ...]:
    """Return every reason of a refusal and the nearest thing that would fit, as sentences."""
    nearest = (refusal.nearest,) if refusal.nearest else ()
    return (*(reason.detail for reason in refusal.reasons), *nearest)


def _candidates(count: int) -> str:
    if count == 1:
        return "One node could take it."
    return f"{count} nodes could take it."


def _link(points: int) -> str:
    if points >= NVLINK_POINTS:
        links = points // NVLINK_POINTS
        return f"over {links} fabric link{'' if links == 1 else 's'} at least"
    return _LINK_WORDS.get(points, "over their best links")


def _domains(count: int) -> str:
    if count == 1:
        return ", in one NUMA domain"
    return f", across {count} NUMA domains" if count else ""


def _beside(explanation: Mapping[str, int]) -> str:
    beside = Beside.of(disk="with_disk" in explanation, nic="with_nic" in explanation)
    return f"Each of its GPUs comes {WITH[beside]} of its own." if WITH[beside] else ""


def _room(explanation: Mapping[str, int]) -> str:
    """Return what the choice took of what launches to come could have, the largest first."""
    prefix = "spoils_"
    sizes = [int(name.removeprefix(prefix)) for name in explanation if name.startswith(prefix)]
    taken = [
        f"{explanation[f'{prefix}{size}']} of {explanation.get(f'fits_{size}', 0)} "
        f"for {'1 GPU' if size == 1 else f'{size} GPUs'}"
        for size in sorted(sizes, reverse=True)
    ]
    if taken:
        said = f"{', '.join(taken[:-1])} and {taken[-1]}" if taken[1:] else taken[0]
        return (
            "Of the places that good, it spoils the least of what is scarce: "
            f"of all places, {said}."
        )
    if "loss" in explanation or any(name.startswith("fits_") for name in explanation):
        return "Of the places that good, it spoils the fewest launches to come."
    return ""
