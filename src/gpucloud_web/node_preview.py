"""The small picture of a node in the launch wizard: where a launch would go."""

from dataclasses import dataclass

from gpucloud_core.nodes.model import Topology
from gpucloud_web import formats
from gpucloud_web.node_picture import domains_of, fabric_of


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewBox:
    index: int
    x: int
    width: int
    middle: int
    box_class: str
    link_class: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewPanel:
    title: str
    x: int
    width: int
    gpus: tuple[PreviewBox, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyPreview:
    """The small picture of where a launch would go."""

    node: str
    label: str
    fabric: str
    width: int
    domains: tuple[PreviewPanel, ...]

    @classmethod
    def of(cls, *, node: str, topology: Topology, chosen: int, free: int) -> "TopologyPreview":
        fabric = fabric_of(topology)
        panels = []
        x = 8
        for numa, gpus in domains_of(topology):
            width = 12 + 44 * len(gpus)
            boxes = []
            for position, gpu in enumerate(gpus):
                left = x + 8 + 44 * position
                mine = bool(chosen >> gpu.index & 1)
                css = "held holder-1" if mine else ("free" if free >> gpu.index & 1 else "other")
                boxes.append(
                    PreviewBox(
                        index=gpu.index,
                        x=left,
                        width=40,
                        middle=left + 20,
                        box_class=css,
                        link_class={"held holder-1": "held holder-1", "free": "off", "other": ""}[
                            css
                        ],
                    )
                )
            panels.append(PreviewPanel(title=f"NUMA {numa}", x=x, width=width, gpus=tuple(boxes)))
            x += width + 12
        own = tuple(gpu.index for gpu in topology.gpus if chosen >> gpu.index & 1)
        return cls(
            node=node,
            label=f"The set on {node}: {formats.gpu_set(own)}",
            fabric=fabric,
            width=x - 4,
            domains=tuple(panels),
        )
