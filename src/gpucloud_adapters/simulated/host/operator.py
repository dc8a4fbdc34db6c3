"""What the operator's account answers: the node's own tools, and the node program.

The list is closed. Anything else is not on a simulated node, and there is no shell of the machine
behind it to escape to.
"""

import asyncio
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from gpucloud_adapters.simulated.host import (
    amd_smi,
    machine_text,
    nvidia_smi,
    nvidia_xml,
    pci_text,
)
from gpucloud_adapters.simulated.host.faults import DISCOVER, SHELL, Fault, FaultKind
from gpucloud_adapters.simulated.host.interior import is_amd_node
from gpucloud_adapters.simulated.host.node import SimulatedNode
from gpucloud_adapters.simulated.host.nvidia_smi import GpuView
from gpucloud_adapters.simulated.host.session import Process
from gpucloud_adapters.simulated.host.verbs import VERBS, Before
from gpucloud_core.nodes import wire
from gpucloud_core.nodes.discovery import DISKS, NETDEVS
from gpucloud_core.nodes.holdings import Refused
from gpucloud_core.nodes.model import Topology
from gpucloud_core.nodes.ports import NodeRefused
from gpucloud_core.nodes.wire_values import Wrong, claim_id

NOT_FOUND: Final = 127
_GARBAGE: Final = '{"ok": tru\x1b[2J\x00 Segmentation fault (core dumped)'
_LOST_IT: Final = wire.refusal("internal", "The node program failed; what it did is unknown.")

Tool = Callable[[SimulatedNode, Topology], str | None]
"""What it prints; None where it is not installed."""


def _of_nvidia(render: Callable[[GpuView], str]) -> Tool:
    def tool(node: SimulatedNode, here: Topology) -> str | None:
        return None if is_amd_node(node.topology) else render(node.gpu_view(here))

    return tool


def _of_amd(render: Callable[[GpuView], str]) -> Tool:
    def tool(node: SimulatedNode, here: Topology) -> str | None:
        return render(node.gpu_view(here)) if is_amd_node(node.topology) else None

    return tool


TOOLS: Final[Mapping[tuple[str, ...], Tool]] = {
    ("nvidia-smi", "-q", "-x"): _of_nvidia(nvidia_xml.report),
    ("nvidia-smi", "topo", "-m"): _of_nvidia(nvidia_smi.matrix),
    ("nvidia-smi", "-L"): _of_nvidia(nvidia_smi.listing),
    ("amd-smi", "list", "--json"): _of_amd(amd_smi.VIEWS["list", "--json"]),
    ("amd-smi", "static", "--json"): _of_amd(amd_smi.VIEWS["static", "--json"]),
    ("amd-smi", "topology", "--json"): _of_amd(amd_smi.VIEWS["topology", "--json"]),
    ("lspci", "-vmm", "-D"): lambda _node, here: pci_text.lspci(here),
    ("lsblk", "-J", "-b"): lambda _node, here: machine_text.lsblk(here),
    tuple(DISKS.split()): lambda _node, here: machine_text.lsblk(here),
    tuple(NETDEVS.split()): lambda _node, here: machine_text.ip_address(here),
    ("grep", "-rs", "--include=numa_node", ".", "/sys/devices"): (
        lambda _node, here: pci_text.numa_files(here)
    ),
    ("grep", "-rs", "--include=cpulist", ".", "/sys/devices/system/node"): (
        lambda _node, here: pci_text.cpu_lists(here)
    ),
    ("find", "/sys/kernel/iommu_groups", "-type", "l"): (
        lambda _node, here: pci_text.iommu_links(here)
    ),
    ("cat", "/proc/meminfo"): lambda _node, here: machine_text.meminfo(here.memory_mib),
    ("lscpu", "-J"): lambda _node, here: machine_text.lscpu(here),
}
"""Every tool that discovery runs; a test holds it equal to the wire's own list."""


class Operator:
    """Serves the sessions of a node's operator account."""

    def __init__(self, node: SimulatedNode) -> None:
        self._node = node
        self._working: set[asyncio.Task[bytes]] = set()

    async def finish(self) -> None:
        """Wait for the verbs under way; one does not stop because its caller hung up."""
        await asyncio.gather(*self._working, return_exceptions=True)

    async def serve(self, process: Process) -> None:
        """Answer one command."""
        argv = _split(process.command)
        match argv:
            case (wire.PROGRAM, "shell", "--claim", claim):
                await self._shell(process, claim)
            case (wire.PROGRAM, verb) if verb in VERBS:
                await self._verb(process, verb)
            case _ if argv in TOOLS:
                await self._tool(process, argv)
            case _:
                _not_found(process, argv[0] if argv else "a shell")

    async def _tool(self, process: Process, argv: tuple[str, ...]) -> None:
        fault = self._node.faults.take(self._node.name, DISCOVER)
        if await self._spoiled(process, fault):
            return
        here = _without(self._node.topology, fault)
        answer = TOOLS[argv](self._node, here)
        if answer is None:
            _not_found(process, argv[0])
        else:
            await _end(process, answer, fault)

    async def _verb(self, process: Process, verb: str) -> None:
        raw = await _read(process)
        fault = self._node.faults.take(self._node.name, verb, raw.decode(errors="replace"))
        is_slow = fault is not None and fault.kind is FaultKind.SLOW
        if not is_slow and await self._spoiled(process, fault):
            return
        work = asyncio.create_task(self._run(verb, raw, fault))
        self._working.add(work)
        work.add_done_callback(self._working.discard)
        try:
            answer = await asyncio.shield(work)
        except Refused as refused:
            answer = wire.refusal(refused.code, refused.detail)
        except NodeRefused as error:
            answer = wire.refusal("invalid_document", error.detail)
        if fault and fault.kind is FaultKind.FAIL_AFTER_DOING:
            answer = _LOST_IT
        await _end(process, answer.decode(), fault)

    async def _run(self, name: str, raw: bytes, fault: Fault | None) -> bytes:
        verb, node = VERBS[name], self._node
        if fault and fault.kind is FaultKind.SLOW:
            await asyncio.sleep(fault.seconds)
        if verb.takes_time:
            await node.pause(f"{name}/{raw.decode(errors='replace')}")
        here = _without(node.topology, fault)
        async with node.changing:
            before = Before(
                holdings=node.holdings,
                topology=here,
                lost=tuple(gpu.pci_address for gpu in node.topology.gpus[len(here.gpus) :]),
                now=node.clock.now(),
                is_open=node.is_open,
                host_key=node.host_key,
            )
            after, answer = verb.run(before, raw)
            if not (fault and fault.kind is FaultKind.OK_WITHOUT_DOING):
                await node.keep(after)
        return answer

    async def _shell(self, process: Process, claim: str) -> None:
        fault = self._node.faults.take(self._node.name, SHELL)
        if await self._spoiled(process, fault):
            return
        try:
            held = self._node.holdings.slices.get(claim_id(claim))
        except Wrong:
            held = None
        if held is None or not held.running:
            process.stderr.write("There is no running slice of this claim here.\n")
            process.exit(1)
        elif fault and fault.kind is FaultKind.RESET:
            process.channel.get_connection().abort()
        else:
            await self._node.serve_slice(process, held.spec.claim_id, command=None)

    async def _spoiled(self, process: Process, fault: Fault | None) -> bool:
        """Carry out a fault that comes before the work; return whether it ended the call."""
        match fault.kind if fault else None:
            case FaultKind.SLOW if fault:
                await asyncio.sleep(fault.seconds)
                return False
            case FaultKind.HANG:
                await process.wait_closed()
                return True
            case FaultKind.GARBAGE:
                await _end(process, _GARBAGE, None)
                return True
            case _:
                return False


def _not_found(process: Process, name: str) -> None:
    process.stderr.write(f"{name}: not on a simulated node\n")
    process.exit(NOT_FOUND)


def _split(command: str | None) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command or ""))
    except ValueError:
        return ()


def _without(topology: Topology, fault: Fault | None) -> Topology:
    """Return the topology without the GPUs that ``fault`` takes away."""
    if fault is None or fault.kind is not FaultKind.GPU_LOSS:
        return topology
    return replace(topology, gpus=topology.gpus[: max(0, len(topology.gpus) - fault.gpus)])


async def _read(process: Process) -> bytes:
    """Return the document on stdin. One that is too long is read to its end but not kept whole."""
    text = ""
    while part := await process.stdin.read(65_536):
        if len(text) <= wire.DOCUMENT_BYTES_MAX:
            text += part
    return text.encode()


async def _end(process: Process, answer: str, fault: Fault | None) -> None:
    if process.channel is None or process.channel.is_closing():
        return  # its caller hung up; others go on over the same connection
    if fault and fault.kind is FaultKind.RESET:
        process.stdout.write(answer[: len(answer) // 2])
        await process.stdout.drain()
        process.channel.get_connection().abort()
        return
    process.stdout.write(answer)
    await process.stdout.drain()
    process.exit(0)
