"""``ip -d -j address``: the network devices of a node, and which of them the host itself uses."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_TEXT_MAX: Final = 4 * 1024 * 1024
_DEVICES_MAX: Final = 4096
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,15}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Netdev:
    """A network device. ``in_use`` is what the host does with it; empty: nothing is seen."""

    name: str
    in_use: str = ""


def parse_netdevs(text: str) -> Mapping[str, Netdev]:
    """Return the devices that hang on PCI, by address; anything else gives none.

    Of several at one address, as a card of two ports on one function has, the first that is used
    stands for all: a function is given away as a whole.
    """
    try:
        document = json.loads(text[:_TEXT_MAX])
    except (ValueError, RecursionError):
        return {}
    rows = document[:_DEVICES_MAX] if isinstance(document, list) else []
    found: dict[str, Netdev] = {}
    for address, device in filter(None, map(_device, rows)):
        known = found.get(address)
        if known is None or (device.in_use and not known.in_use):
            found[address] = device
    return found


def _device(row: object) -> tuple[str, Netdev] | None:
    match row:
        case {"ifname": str(name), "parentbus": "pci", "parentdev": str(address), **rest}:
            if _is_name(name):
                return address.lower(), Netdev(name, next(_uses(rest), ""))
    return None


def _is_name(text: str) -> bool:
    return bool(_NAME.match(text))


def _uses(row: Mapping[object, object]) -> Iterator[str]:
    """Yield what the host does with a device, the plainest first."""
    match row.get("addr_info"):
        case list(addresses) if any(map(_is_reachable, addresses)):
            yield "has an address"
    match row.get("master"):
        case str(master) if _is_name(master):
            yield f"is part of {master}"
    match row.get("vfinfo_list"):
        case [_, *_]:
            yield "is divided into virtual functions"


def _is_reachable(address: object) -> bool:
    """Tell an address that somebody gave from one that every device makes for itself."""
    match address:
        case {"local": str(local), "scope": str(scope)}:
            return bool(local) and scope not in {"link", "host"}
    return False
