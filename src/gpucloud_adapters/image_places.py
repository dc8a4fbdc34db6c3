"""From where images may be read: declared origins, and addresses that nobody can misuse.

An image's reference is typed by a person and names a host. Without care it could make us knock at
doors of our own network and tell what is behind them. So a host must be declared with its scheme,
and what its name resolves to must be a public address, or lie in a network that was declared too.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import SplitResult, urlsplit

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_PORTS: Final = {"https": 443, "http": 80}
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""Source: RFC 6052, section 2.1: the last 32 bits are an IPv4 address. Read 2026-11-28."""


class NoPlace(ValueError):
    """A text that declares no place; its words say why."""


@dataclass(frozen=True, slots=True)
class Origin:
    scheme: str
    host: str
    port: int

    @property
    def netloc(self) -> str:
        """Return host and port as a ``Host`` header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if _PORTS[self.scheme] == self.port else f"{host}:{self.port}"

    @classmethod
    def of(cls, url: str) -> "Origin":
        """Return the origin of an address.

        Raises:
            NoPlace: it is none that may be declared or asked.
        """
        parts = _split(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise NoPlace(f"{url!r} begins with https:// and names a host")
        if parts.username is not None or parts.password is not None:
            raise NoPlace(f"{url!r} has no place for a user")
        try:
            port = parts.port
        except ValueError:
            raise NoPlace(f"{url!r} has no such port") from None
        return cls(parts.scheme, parts.hostname.lower(), port or _PORTS[parts.scheme])


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # such as a bracket that is not closed
        return urlsplit("")


@dataclass(frozen=True, slots=True)
class Places:
    """What was declared. ``networks`` are allowed beside public addresses."""

    origins: tuple[Origin, ...] = ()
    networks: tuple[Network, ...] = ()

    @classmethod
    def declared(cls, origins: Iterable[str], networks: Iterable[str]) -> "Places":
        """Read what an operator declared.

        Raises:
            NoPlace: one of them is none.
        """
        known = []
        for text in origins:
            parts = _split(text)
            if parts.path.strip("/") or parts.query or parts.fragment:
                raise NoPlace(f"{text!r} is an origin, such as https://registry.example")
            known.append(Origin.of(text))
        try:
            inside = tuple(ipaddress.ip_network(text) for text in networks)
        except ValueError as error:
            raise NoPlace(f"a network is written such as 10.4.0.0/16: {error}") from None
        return cls(tuple(known), inside)

    def registry(self, netloc: str) -> Origin | None:
        """Return the declared origin of a registry that a reference names without a scheme."""
        for scheme in ("https", "http"):
            try:
                origin = Origin.of(f"{scheme}://{netloc}")
            except NoPlace:
                return None
            if origin in self.origins:
                return origin
        return None

    def allows(self, address: Address) -> bool:
        """Tell whether an address may be dialled, whichever way it is written."""
        inner = embedded(address)
        if inner is not None:
            return self.allows(inner)
        if address.is_link_local or address.is_multicast or address.is_unspecified:
            return False  # metadata services live here; nobody declares them by mistake
        if any(address in network for network in self.networks):
            return True
        return address.is_global and not address.is_reserved


NOWHERE: Final = Places()
"""What holds where nothing was declared."""


def embedded(address: Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 address carries inside, where it is a way to it."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None
