"""``amd-smi --json`` of a node, in the few facts that discovery reads, from its topology."""

import json

from gpucloud_core.nodes.model import Gpu, LinkClass, Topology
from gpucloud_core.nodes.pci import short_address

_HOPS = {LinkClass.XGMI: 1, LinkClass.SYS: 3}


def outputs(topology: Topology) -> dict[str, str]:
    """Return what each command prints."""
    gpus = topology.gpus
    return {
        "amd-smi list --json": json.dumps([_listed(gpu) for gpu in gpus]),
        "amd-smi static --json": json.dumps([_static(gpu, topology) for gpu in gpus]),
        "amd-smi topology --json": json.dumps([_links(gpu, topology) for gpu in gpus]),
    }


def _listed(gpu: Gpu) -> dict[str, object]:
    return {"gpu": gpu.index, "bdf": short_address(gpu.pci_address), "uuid": gpu.uuid}


def _static(gpu: Gpu, topology: Topology) -> dict[str, object]:
    module = 65_535 if gpu.module_id is None else gpu.module_id
    return {
        "gpu": gpu.index,
        "asic": {"market_name": gpu.model, "oam_id": module},
        "board": {"product_serial": gpu.serial or "N/A"},
        "driver": {"name": "amdgpu", "version": topology.driver_version},
        "numa": {"node": gpu.numa, "affinity": gpu.numa},
        "vram": {"size": {"value": gpu.memory_mib, "unit": "MB"}},
    }


def _links(gpu: Gpu, topology: Topology) -> dict[str, object]:
    links = []
    for other in topology.gpus:
        link = topology.links[gpu.index][other.index]
        mine = other.index == gpu.index
        links.append(
            {
                "gpu": other.index,
                "bdf": short_address(other.pci_address),
                "link_type": "SELF" if mine else "XGMI" if link is LinkClass.XGMI else "PCIE",
                "num_hops": 0 if mine else _HOPS.get(link, 2),
            }
        )
    return {"gpu": gpu.index, "bdf": short_address(gpu.pci_address), "links": links}
