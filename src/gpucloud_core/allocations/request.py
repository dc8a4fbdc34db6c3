"""What a launch asks for, and whether each field makes sense by itself."""

import ipaddress
import unicodedata
from dataclasses import dataclass, field
from typing import Final

from gpucloud_core.allocations.model import EndOfBalance, Network
from gpucloud_core.kernel.errors import FieldError
from gpucloud_core.placement.model import Spread, Within

MACHINES_MAX: Final = 16
NAME_LENGTH_MAX: Final = 200
TTL_SECONDS: Final = (300, 90 * 86_400)
CIDRS_MAX: Final = 32
PORTS_MAX: Final = 32
KEYS_MAX: Final = 50
PORT_HIGHEST: Final = 65_535
SSH_PORT: Final = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRequest:
    """One launch: ``count`` machines of ``gpu_count`` GPUs. ``None`` lets us choose."""

    sku_id: str
    gpu_count: int
    count: int = 1
    spread: Spread = Spread.ANY
    together: bool = False
    within: Within = Within.FABRIC  # how near to each other, if together
    image_id: str | None = None
    ssh_key_ids: tuple[str, ...] = ()
    name: str | None = None
    region: str | None = None
    network: Network = field(default_factory=Network)
    end_of_balance: EndOfBalance = EndOfBalance.RELEASE
    ttl_seconds: int | None = None


def field_errors(request: LaunchRequest) -> tuple[FieldError, ...]:
    """Return everything wrong with single fields; what depends on the world is not looked at."""
    return (
        *_sizes(request),
        *_name(request.name),
        *_network(request.network),
    )


def _sizes(request: LaunchRequest) -> list[FieldError]:
    found = []
    if request.gpu_count < 1:
        found.append(FieldError("/gpu_count", "too_small", "Choose at least one GPU."))
    if not 1 <= request.count <= MACHINES_MAX:
        detail = f"Choose between 1 and {MACHINES_MAX} machines per launch."
        found.append(FieldError("/count", "out_of_range", detail))
    if request.within is not Within.FABRIC and not request.together:
        detail = "Ask for machines together to say how near to each other they must be."
        found.append(FieldError("/within", "not_together", detail))
    if len(request.ssh_key_ids) > KEYS_MAX:
        found.append(FieldError("/ssh_key_ids", "too_many", f"Choose at most {KEYS_MAX} keys."))
    lowest, highest = TTL_SECONDS
    if request.ttl_seconds is not None and not lowest <= request.ttl_seconds <= highest:
        detail = "Choose a time to live between 5 minutes and 90 days, in seconds."
        found.append(FieldError("/ttl_seconds", "out_of_range", detail))
    return found


def _name(name: str | None) -> list[FieldError]:
    if name is None:
        return []
    if not name.strip():
        return [FieldError("/name", "blank", "Give it a name, or leave the field out.")]
    if len(name) > NAME_LENGTH_MAX:
        detail = f"Use at most {NAME_LENGTH_MAX} characters."
        return [FieldError("/name", "too_long", detail)]
    if any(unicodedata.category(char) in {"Cc", "Cs"} for char in name):
        return [FieldError("/name", "control_characters", "Leave out control characters.")]
    return []


def _network(network: Network) -> list[FieldError]:
    found = [
        error
        for at, cidr in enumerate(network.ssh_cidrs)
        for error in _cidr(f"/network/ssh_cidrs/{at}", cidr)
    ]
    if len(network.ssh_cidrs) > CIDRS_MAX:
        detail = f"Use at most {CIDRS_MAX} sources."
        found.append(FieldError("/network/ssh_cidrs", "too_many", detail))
    if len(network.inbound) > PORTS_MAX:
        detail = f"Open at most {PORTS_MAX} ports."
        found.append(FieldError("/network/inbound", "too_many", detail))
    seen: set[int] = set()
    for at, rule in enumerate(network.inbound):
        place = f"/network/inbound/{at}"
        if not 1 <= rule.port <= PORT_HIGHEST or rule.port == SSH_PORT:
            detail = "Use a port from 1 to 65535; SSH (22) has its own sources."
            found.append(FieldError(f"{place}/port", "out_of_range", detail))
        if rule.port in seen:
            found.append(FieldError(f"{place}/port", "duplicate", "Name each port once."))
        seen.add(rule.port)
        for index, cidr in enumerate(rule.cidrs):
            found.extend(_cidr(f"{place}/cidrs/{index}", cidr))
    return found


def _cidr(place: str, text: str) -> list[FieldError]:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        detail = f"{text[:64]!r} is no network such as 203.0.113.0/24 or 2001:db8::/32."
        return [FieldError(place, "invalid_cidr", detail)]
    return []


def machine_name(request: LaunchRequest, number: int, allocation_id: str) -> str:
    """Return the name of machine ``number`` (from 0) of the launch."""
    if request.name is None:
        return f"{request.sku_id}-{allocation_id[-5:]}"
    name = " ".join(request.name.split())
    return name if request.count == 1 else f"{name}-{number + 1}"


def hostname(name: str, allocation_id: str) -> str:
    """Return a host name (RFC 1123 label) that recalls ``name``."""
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    label = "-".join("".join(c if c.isalnum() else " " for c in ascii_only).split())[:40].strip("-")
    return f"{label or 'gpu'}-{allocation_id[-5:]}"
