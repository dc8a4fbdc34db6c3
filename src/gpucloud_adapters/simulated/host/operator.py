"""What the operator's account answers: the node's own tools, and the node program.

The list is closed. Anything else is not on a simulated node, and there is no shell of the machine
behind it to escape to.
"""

import asyncio
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from gpucloud_adapters.simulated.host import machine_text, nvidia_smi, nvidia_xml
from gpucloud_adapters.simulated.host.faults import DISCOVER, SHELL, Fault, FaultKind
from gpucloud_adapters.simulated.host.node import SimulatedNode
from gpucloud_adapters.simulated.host.session import Process
from gpucloud_adapters.simulated.host.verbs import VERBS, Before
from gpucloud_core.nodes import wire
from gpucloud_core.nodes.holdings import Refused
from gpucloud_core.nodes.model import Topology
from gpucloud_core.nodes.ports import NodeRefused
from gpucloud_core.nodes.wire_values import Wrong, claim_id

NOT_FOUND: Final = 127
_GARBAGE: Final = '{"ok": tru\x1b[2J\x00 Segmentation fault (core dumped)'
_LOST_IT: Final = wire.refusal("internal", "The node program failed; what it did is unknown.")

Tool = Callable[[SimulatedNode, Topology], str]

TOOLS: Final[Mapping[tuple[str, ...], Tool]] = {
    ("nvidia-smi", "-q", "-x"): lambda node, here: nvidia_xml.report(node.gpu_view(here)),
    ("nvidia-smi", "topo", "-m"): lambda node, here: nvidia_smi.matrix(node.gpu_view(here)),
    ("nvidia-smi", "-L"): lambda node, here: nvidia_smi.listing(node.gpu_view(here)),
    ("lspci", "-vmm", "-D"): lambda _node, here: machine_text.lspci(here),
    ("lsblk", "-J", "-b"): lambda _node, _here: machine_text.lsblk(),
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
                name = argv[0] if argv else "a shell"
                process.stderr.write(f"{name}: not on a simulated node\n")
                process.exit(NOT_FOUND)

    async def _tool(self, process: Process, argv: tuple[str, ...]) -> None:
        fault = self._node.faults.take(self._node.name, DISCOVER)
        if await self._spoiled(process, fault):
            return
        here = _without(self._node.topology, fault)
        await _end(process, TOOLS[argv](self._node, here), fault)

    async def _verb(self, process: Process, verb: str) -> None:
        fault = self._node.faults.take(self._node.name, verb)
        raw = await _read(process)
        if await self._spoiled(process, fault):
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
    if fault and fault.kind is FaultKind.RESET:
        process.stdout.write(answer[: len(answer) // 2])
        await process.stdout.drain()
        process.channel.get_connection().abort()
        return
    process.stdout.write(answer)
    await process.stdout.drain()
    process.exit(0)
