"""``fleet.json``: what the platform has to be told of a simulated fleet, and nothing more.

The fleet server writes it, private to its owner, before it says that it is ready; whoever seeds a
demo reads it and enrols each host as an operator would.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from gpucloud_adapters.simulated.host.identity import write_private
from gpucloud_core.nodes.model import Gpu, LinkClass, Nic, NodeAccess, Nvme, Topology

FILE_NAME: Final = "fleet.json"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetHost:
    """One host: how to reach it, its key file, what is inside, and ports for its slots."""

    name: str
    access: NodeAccess
    private_key_path: Path
    slot_host: str
    slot_ports: tuple[int, ...]
    topology: Topology

    @property
    def private_key(self) -> str:
        """The operator's private key, in OpenSSH's own format."""
        return self.private_key_path.read_text(encoding="utf-8")


def write_fleet(home: Path, hosts: list[FleetHost]) -> Path:
    """Write the fleet's file and return where it is."""
    path = home / FILE_NAME
    rows = [{**asdict(host), "private_key_path": str(host.private_key_path)} for host in hosts]
    document = {"version": _VERSION, "hosts": rows}
    write_private(path, json.dumps(document, indent=1).encode() + b"\n")
    return path


def read_fleet(path: Path) -> tuple[FleetHost, ...]:
    """Read it back.

    Raises:
        ValueError: it is of another version.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    if document["version"] != _VERSION:
        raise ValueError(f"{path} is of a version that this program does not know")
    return tuple(
        FleetHost(
            name=row["name"],
            access=NodeAccess(**row["access"]),
            private_key_path=Path(row["private_key_path"]),
            slot_host=row["slot_host"],
            slot_ports=tuple(row["slot_ports"]),
            topology=_topology(row["topology"]),
        )
        for row in document["hosts"]
    )


def _topology(row: dict[str, Any]) -> Topology:
    return Topology(
        **{
            **row,
            "gpus": tuple(
                Gpu(**{**gpu, "iommu_mates": tuple(gpu["iommu_mates"])}) for gpu in row["gpus"]
            ),
            "links": tuple(tuple(map(LinkClass, line)) for line in row["links"]),
            "nvlinks": tuple(map(tuple, row["nvlinks"])),
            "numa_cpus": tuple(row["numa_cpus"]),
            "nics": tuple(Nic(**nic) for nic in row["nics"]),
            "nvmes": tuple(Nvme(**disk) for disk in row["nvmes"]),
        }
    )
