"""Where a launch would go: its set on each node, and why there; or why it fits nowhere now."""

from dataclasses import dataclass

from gpucloud_core.allocations.quote import Quote as LaunchQuote
from gpucloud_web.node_preview import TopologyPreview

SHOWN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceView:
    """One machine: its node with the set drawn in, and the sentences of placement."""

    preview: TopologyPreview
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WhereView:
    """All that ``launch/where.html`` may know. ``refused`` says why, and what would fit."""

    places: tuple[PlaceView, ...]
    more: str
    refused: str


def where_view(quote: LaunchQuote | None) -> WhereView:
    """Return where the launch of a quote would go."""
    if quote is None:
        return WhereView(places=(), more="", refused="")
    places = tuple(
        PlaceView(
            preview=TopologyPreview.of(
                node=place.node.name,
                topology=place.node.topology,
                chosen=place.mask,
                free=place.free_mask,
            ),
            why=place.why,
        )
        for place in quote.places[:SHOWN]
    )
    more = len(quote.places) - SHOWN
    refused = next(
        (check.detail for check in quote.checks if check.code == "capacity" and not check.ok), ""
    )
    return WhereView(
        places=places,
        more=f"and {more} more, likewise" if more > 0 else "",
        refused=refused,
    )
