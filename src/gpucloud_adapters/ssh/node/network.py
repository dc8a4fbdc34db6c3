"""A slice's network: a cable to the node's bridge, and a packet filter.

The network namespace is the container's own, made by runc; the node equips it before the slice's
first process starts. No process of the slice has a capability in it, so none can change the rules
or the address. Each allowed source is a rule of its own, so that what is read back is what was
asked for, word for word. Bridge ports are isolated: slices do not see each other, only what the
bridge leads to.
"""

import ctypes
import ipaddress
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpucloud_adapters.ssh.node.commands import Refused, ToolFailed, run
from gpucloud_adapters.ssh.node.config import Config, Names
from gpucloud_core.nodes.model import SliceSpec

_TABLE: Final = "gpucloud"
_SSH_RULE: Final = "ssh"
_CLONE_NEWNET: Final = 0x40000000
_BANNER_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Filter:
    """What the packet filter of a slice says of SSH, read back from the kernel."""

    ssh_open: bool
    ssh_cidrs: tuple[str, ...]


def check_address(config: Config, spec: SliceSpec) -> None:
    """Raise ``Refused`` unless the slice's address is one of the node's own network."""
    network = config.network
    try:
        address = ipaddress.ip_address(spec.ssh_host)
    except ValueError as error:
        raise Refused("address_not_here", "A slice here needs an address of its own.") from error
    here = ipaddress.ip_network(f"{network.gateway}/{network.prefix}", strict=False)
    taken = [ipaddress.ip_network(each) for each in (network.gateway, *network.hidden)]
    if address not in here or any(address in each for each in taken):
        raise Refused("address_not_here", f"{address} is not an address for slices of this node.")


def raise_up(names: Names, spec: SliceSpec, pid: int) -> None:
    """Equip the namespace of process ``pid``: its address, and a filter that lets nothing pass."""
    network = names.config.network
    address = ipaddress.ip_address(spec.ssh_host)
    run("ip", "netns", "attach", names.short, str(pid))
    with inside(names):  # before the cable is there
        _write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")
        if address.version == 4:  # noqa: PLR2004  no second way in
            _write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1")
            _write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1")
    close(names)
    cable = names.short
    outside = f"""\
link add {cable} type veth peer name eth0 address {_mac(address)} netns {cable}
link set {cable} alias {names.claim_id}
link set {cable} master {network.bridge}
link set {cable} up
"""
    run("ip", "-batch", "-", stdin=outside.encode())
    run("bridge", "link", "set", "dev", cable, "isolated", "on")
    within = f"""\
link set lo up
link set eth0 up
address add {address}/{network.prefix} dev eth0 nodad
route add default via {network.gateway} dev eth0
"""
    run("ip", "-netns", cable, "-batch", "-", stdin=within.encode())


def take_down(names: Names) -> None:
    """Remove the cable and the namespace; absent is fine."""
    if has_cable(names):
        run("ip", "link", "delete", names.short)
    if names.netns.exists():
        run("ip", "netns", "delete", names.short)


def has_cable(names: Names) -> bool:
    """Whether the slice's cable is still plugged into the node."""
    links = json.loads(run("ip", "-json", "link"))
    return any(link.get("ifname") == names.short for link in links)


def open_up(names: Names, spec: SliceSpec) -> None:
    """Let in what the slice asked for, and nothing else."""
    ports = [(spec.ssh_port, spec.ssh_cidrs, _SSH_RULE)]
    ports += [(port, sources, "inbound") for port, sources in spec.inbound]
    lines: list[str] = []
    for port, sources, comment in ports:
        froms = [f"{_family(source)} saddr {source}" for source in sources] or [""]
        lines += [f'{source} tcp dport {port} accept comment "{comment}"' for source in froms]
    hidden = [f"{_family(each)} daddr {each} drop" for each in names.config.network.hidden]
    _apply(
        names,
        [
            "ct state established,related accept",
            "iif lo accept",
            "icmp type echo-request accept",
            "icmpv6 type { echo-request, nd-neighbor-solicit, nd-neighbor-advert } accept",
            *lines,
        ],
        ["oif lo accept", "ct state established,related accept", *hidden, "accept"],
    )


def close(names: Names) -> None:
    """Let nothing in or out, not even what is under way."""
    _apply(names, [], [])


def _apply(names: Names, incoming: list[str], outgoing: list[str]) -> None:
    """Replace all rules at once."""
    chains = "".join(
        f"  chain {name} {{ type filter hook {name} priority 0; policy drop;\n"
        + "".join(f"    {rule.strip()}\n" for rule in rules)
        + "  }\n"
        for name, rules in (("input", incoming), ("output", outgoing), ("forward", []))
    )
    script = (
        f"table inet {_TABLE}\ndelete table inet {_TABLE}\ntable inet {_TABLE} {{\n{chains}}}\n"
    )
    run("ip", "netns", "exec", names.short, "nft", "-f", "-", stdin=script.encode())


def read_back(names: Names) -> Filter:
    """Ask the kernel who may reach SSH."""
    if not names.netns.exists():
        return Filter(ssh_open=False, ssh_cidrs=())
    try:
        raw = run(
            *("ip", "netns", "exec", names.short),
            *("nft", "-j", "list", "chain", "inet", _TABLE, "input"),
        )
    except ToolFailed:
        return Filter(ssh_open=False, ssh_cidrs=())
    rules = [item["rule"] for item in json.loads(raw)["nftables"] if "rule" in item]
    ssh = [rule["expr"] for rule in rules if rule.get("comment") == _SSH_RULE]
    cidrs = [source for expr in ssh if (source := _source(expr)) is not None]
    return Filter(ssh_open=bool(ssh), ssh_cidrs=tuple(cidrs))


def _source(expressions: list[dict[str, object]]) -> str | None:
    """Return the network of a rule's source match, in its usual spelling."""
    for expression in expressions:
        match = expression.get("match")
        if not isinstance(match, dict) or "saddr" not in json.dumps(match.get("left")):
            continue
        right = match["right"]
        if isinstance(right, dict):
            right = f"{right['prefix']['addr']}/{right['prefix']['len']}"
        return str(ipaddress.ip_network(right))
    return None


def answers_ssh(names: Names, spec: SliceSpec) -> bool:
    """Whether an SSH server greets a visitor at the slice's address, asked from inside."""
    if not names.netns.exists():
        return False
    with inside(names):  # a socket belongs to the namespace it was made in
        family = socket.AF_INET6 if ":" in spec.ssh_host else socket.AF_INET
        visitor = socket.socket(family, socket.SOCK_STREAM)
    with visitor:
        visitor.settimeout(_BANNER_SECONDS)
        try:
            visitor.connect((spec.ssh_host, spec.ssh_port))
            return visitor.recv(8).startswith(b"SSH-2.0-")
        except OSError:
            return False


@contextmanager
def inside(names: Names) -> Iterator[None]:
    """Be in the slice's network namespace for a while; this program has one thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(names.netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(there, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        yield
    finally:
        if libc.setns(home, _CLONE_NEWNET):
            os._exit(70)  # in the wrong namespace nothing more may be done
        os.close(home)
        os.close(there)


def _write(path: str, value: str) -> None:
    Path(path).write_text(value)


def _mac(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """The same for the same address, so that neighbours' caches stay right."""
    tail = address.packed[-4:]
    return ":".join(f"{byte:02x}" for byte in (0x02, 0x67, *tail))


def _family(cidr: str) -> str:
    return "ip6" if ":" in cidr else "ip"
