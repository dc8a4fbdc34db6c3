"""GPU hosts of several kinds: ``python -m gpucloud_adapters.simulated.fleet_server``.

Host n listens on ``--port-base`` + n for operators; its slot i is meant to answer at
``--port-base`` + 100 + 100 n + i. Everything lies below ``--home`` and is found again by the next
start. Standard output says ``ready`` when every host answers and ``fleet.json`` is written.
"""

import argparse
import asyncio
import logging
import secrets
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpucloud_adapters.simulated.fleet_file import FleetHost, write_fleet
from gpucloud_adapters.simulated.host.faults import FaultScript
from gpucloud_adapters.simulated.host.identity import write_private
from gpucloud_adapters.simulated.host.node import SimulatedNode
from gpucloud_adapters.simulated.host.operator import Operator
from gpucloud_adapters.system import SystemClock
from gpucloud_core.nodes.holdings import Refused
from gpucloud_core.nodes.systems import SYSTEMS

LOOPBACK: Final = "127.0.0.1"
FLEET: Final = (
    *("hgx-h200", "hgx-h200", "hgx-h200"),
    *("hgx-b200", "hgx-a100", "l40s-x8", "mi300x-x8"),
)
"""The demo's hosts. Add at the end: a host's place decides its ports."""
_PORTS_PER_HOST: Final = 100
_HOSTS_MAX: Final = 99
_SEED_BITS: Final = 63
_FAILED: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOptions:
    """What the command line says."""

    home: Path
    systems: tuple[str, ...]  # one host each, in the order of their ports
    seed: int | None = None
    port_base: int
    delay_seconds: float = 2.0
    faults: Path | None = None


class Fleet:
    """The hosts of one home folder."""

    def __init__(self, options: FleetOptions) -> None:
        self._options = options
        self._stack = AsyncExitStack()

    async def start(self) -> Path:
        """Start every host and return where ``fleet.json`` is.

        The file is written before the first host, the last to start, listens: whoever reaches
        that port finds everything.

        Raises:
            ValueError: the home was made with another seed, or the fault script is wrong.
            Refused: a port is taken.
        """
        seed = self._kept_seed()
        nodes = self._nodes(seed)
        path = await asyncio.to_thread(write_fleet, self._options.home, _described(nodes))
        for node in reversed(nodes):
            operator = Operator(node)
            self._stack.push_async_callback(node.close)
            self._stack.push_async_callback(operator.finish)
            await node.start(operator.serve)
        return path

    async def close(self) -> None:
        """Stop every host; nothing that was acknowledged is lost."""
        await self._stack.aclose()

    def _nodes(self, seed: int) -> list[SimulatedNode]:
        options = self._options
        faults = FaultScript.load(options.faults) if options.faults else FaultScript()
        return [
            SimulatedNode(
                name=name,
                topology=SYSTEMS[kind].topology(seed=f"{seed}/{name}"),
                folder=options.home / "hosts" / name,
                seed=str(seed),
                clock=SystemClock(),
                host=LOOPBACK,
                port=options.port_base + number,
                faults=faults,
                delay_seconds=options.delay_seconds,
            )
            for number, (name, kind) in enumerate(_named(options.systems))
        ]

    def _kept_seed(self) -> int:
        """Return the seed this home was made with, making one at the first start."""
        path, asked = self._options.home / "fleet-seed", self._options.seed
        if path.exists():
            kept = int(path.read_text(encoding="utf-8"))
            if asked not in {None, kept}:
                raise ValueError(
                    f"{self._options.home} was made with seed {kept}; use that, or another folder"
                )
            return kept
        seed = secrets.randbits(_SEED_BITS) if asked is None else asked
        write_private(path, f"{seed}\n".encode())
        return seed


def _named(systems: Sequence[str]) -> list[tuple[str, str]]:
    """Return a name for each host, counted within its system: ``hgx-h200-01``."""
    counts: Counter[str] = Counter()
    named = []
    for kind in systems:
        counts[kind] += 1
        named.append((f"{kind}-{counts[kind]:02d}", kind))
    return named


def _described(nodes: Sequence[SimulatedNode]) -> list[FleetHost]:
    return [
        FleetHost(
            name=node.name,
            access=node.access,
            private_key_path=node.operator_key_path.resolve(),
            slot_host=LOOPBACK,
            slot_ports=tuple(
                nodes[0].port + _PORTS_PER_HOST * (number + 1) + gpu.index
                for gpu in node.topology.gpus
            ),
            topology=node.topology,
        )
        for number, node in enumerate(nodes)
    ]


def options_of(arguments: Sequence[str]) -> FleetOptions:
    """Read the command line; a wrong one ends the program with a word about it."""
    parser = argparse.ArgumentParser(prog="fleet_server", description="A fleet of simulated hosts.")
    parser.add_argument("--home", type=Path, required=True, help="folder for keys and state")
    parser.add_argument(
        "--systems",
        type=lambda text: tuple(text.split(",")),
        default=FLEET,
        help=f"one host each, of {', '.join(SYSTEMS)}",
    )
    parser.add_argument("--seed", type=int, help="otherwise the folder's own, made at first")
    parser.add_argument("--port-base", "--port", type=int, default=2200, dest="port_base")
    parser.add_argument(
        "--delay", type=float, default=2.0, help="seconds that provisioning and wiping take"
    )
    parser.add_argument("--faults", type=Path, help="a fault script (JSON)")
    given = parser.parse_args(arguments)
    hosts = len(given.systems)
    if strange := set(given.systems) - set(SYSTEMS):
        parser.error(f"--systems are of {', '.join(SYSTEMS)}; {min(strange)!r} is none of them")
    if hosts > _HOSTS_MAX:
        parser.error(f"--systems names at most {_HOSTS_MAX} hosts")
    if not 0 < given.port_base <= 65_535 - (hosts + 1) * _PORTS_PER_HOST:
        parser.error("--port-base leaves no room for the ports of every host")
    return FleetOptions(
        home=given.home,
        systems=given.systems,
        seed=given.seed,
        port_base=given.port_base,
        delay_seconds=given.delay,
        faults=given.faults,
    )


async def serve(options: FleetOptions) -> None:
    """Run the fleet until the process is asked to end."""
    fleet = Fleet(options)
    asked_to_end = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_end.set)
    try:
        await fleet.start()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asked_to_end.wait()
    finally:
        await fleet.close()


def main() -> int:
    """Run as a program; return its exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    try:
        asyncio.run(serve(options_of(sys.argv[1:])))
    except (Refused, OSError, ValueError) as error:
        sys.stderr.write(f"fleet_server: {error}\n")
        return _FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
