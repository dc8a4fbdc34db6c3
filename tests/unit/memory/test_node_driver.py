"""Nodes in memory. Seen to fail when a pretended call kept what it had decided."""

from dataclasses import replace

import pytest

from contracts.node_driver import NodeDriverContract, NodeRig, ShellsContract
from gpucloud_adapters.memory.node_driver import (
    Fault,
    FaultKind,
    MemoryNodeDriver,
    MemoryShells,
)
from gpucloud_adapters.memory.shell_session import MemoryShellSession
from gpucloud_core.kernel.ids import ClaimId
from gpucloud_core.kernel.time import EPOCH
from gpucloud_core.nodes.discovery import read_topology
from gpucloud_core.nodes.holdings import Stage
from gpucloud_core.nodes.model import NodeAccess
from gpucloud_core.nodes.ports import HostKeyChanged, NodeRefused, NodeUnreachable
from gpucloud_core.nodes.systems import SYSTEMS
from gpucloud_core.nodes.wire_values import public_key
from simulated_builders import KEY, NODE, SteppedClock, a_spec, slots_of, without_diagonal

ACCESS = NodeAccess(
    host="10.0.0.1", port=22, username="gpucloud", host_key=KEY, credential="memory"
)
SPEC = a_spec()


def driver(*faults: Fault) -> MemoryNodeDriver:
    return MemoryNodeDriver({ACCESS.host: NODE}, clock=SteppedClock(), faults=faults)


async def provisioned(*faults: Fault) -> MemoryNodeDriver:
    made = driver()
    await made.provision(ACCESS, SPEC)
    for fault in faults:
        made.plan(fault)
    return made


@pytest.fixture
def memory_rig() -> NodeRig:
    nodes = MemoryNodeDriver({ACCESS.host: NODE}, host_keys={ACCESS.host: ACCESS.host_key})

    async def let_in(claim_id: ClaimId) -> tuple[str, ...]:
        keys = nodes._holdings[ACCESS.host].records[claim_id].keys
        return tuple(public_key(key).fingerprint for key in keys)

    async def traces(claim_id: ClaimId) -> tuple[str, ...]:
        known = nodes._holdings[ACCESS.host].records.get(claim_id)
        return () if known is None or known.stage is Stage.WIPED else (str(known.stage),)

    return NodeRig(
        driver=nodes,
        shells=MemoryShells(nodes),
        access=ACCESS,
        slots=slots_of(NODE, range(2200, 2208)),
        image="ubuntu-24.04",
        let_in=let_in,
        traces=traces,
        nobody=replace(ACCESS, host="10.9.9.9"),
    )


class TestMemoryNodesKeepTheContract(NodeDriverContract):
    @pytest.fixture
    def rig(self, memory_rig: NodeRig) -> NodeRig:
        return memory_rig


class TestMemoryShellsKeepTheContract(ShellsContract):
    @pytest.fixture
    def rig(self, memory_rig: NodeRig) -> NodeRig:
        return memory_rig


class TestMemoryNodeDriver:
    async def test_dates_everything_at_the_epoch_without_a_clock(self) -> None:
        nodes = MemoryNodeDriver({ACCESS.host: NODE})

        assert (await nodes.wipe(ACCESS, SPEC.claim_id, SPEC.gpu_uuids)).at == EPOCH

    async def test_keeps_nodes_apart(self) -> None:
        other = NodeAccess(host="10.0.0.2", port=22, username="x", host_key=KEY, credential="m")
        nodes = MemoryNodeDriver({ACCESS.host: NODE, other.host: NODE})

        await nodes.provision(ACCESS, SPEC)

        assert await nodes.list_ours(other) == ()

    @pytest.mark.parametrize("system", SYSTEMS)
    async def test_tells_what_discovery_needs(self, system: str) -> None:
        topology = SYSTEMS[system].topology(seed="read back")
        nodes = MemoryNodeDriver({ACCESS.host: topology})

        found = read_topology((await nodes.discover(ACCESS)).outputs)

        assert without_diagonal(found.topology) == without_diagonal(topology)
        assert found.faults == ()


class TestFault:
    @pytest.mark.parametrize(
        ("kind", "error", "done"),
        [
            (FaultKind.UNREACHABLE_BEFORE, NodeUnreachable, False),
            (FaultKind.UNREACHABLE_AFTER, NodeUnreachable, True),
            (FaultKind.REFUSED_BEFORE, NodeRefused, False),
            (FaultKind.REFUSED_AFTER, NodeRefused, True),
            (FaultKind.HOST_KEY_CHANGED, HostKeyChanged, False),
        ],
    )
    async def test_raises_whether_it_was_done_or_not(
        self, kind: FaultKind, error: type[Exception], *, done: bool
    ) -> None:
        nodes = driver(Fault(verb="provision", kind=kind))

        with pytest.raises(error):
            await nodes.provision(ACCESS, SPEC)

        assert (await nodes.verify(ACCESS, SPEC.claim_id)).exists is done
        assert (await nodes.provision(ACCESS, SPEC)).port == SPEC.ssh_port

    async def test_pretends(self) -> None:
        nodes = driver(Fault(verb="provision", kind=FaultKind.PRETENDED))

        assert (await nodes.provision(ACCESS, SPEC)).port == SPEC.ssh_port

        assert not (await nodes.verify(ACCESS, SPEC.claim_id)).exists

    async def test_takes_a_gpu_away(self) -> None:
        nodes = driver(Fault(verb="probe", kind=FaultKind.GPU_LOST))

        report = await nodes.probe(ACCESS)

        assert len(report.gpu_uuids) == 7
        assert report.problems == ("GPU at 00000000:BB:00.0 has fallen off the bus.",)

    async def test_happens_so_many_times_on_its_host(self) -> None:
        nodes = driver(
            Fault(verb="probe", kind=FaultKind.UNREACHABLE_BEFORE, host="elsewhere"),
            Fault(verb="probe", kind=FaultKind.UNREACHABLE_BEFORE, times=2),
        )

        for _ in range(2):
            with pytest.raises(NodeUnreachable):
                await nodes.probe(ACCESS)
        assert (await nodes.probe(ACCESS)).reachable


async def shown(session: MemoryShellSession, *, until: bytes) -> bytes:
    seen = b""
    while until not in seen:
        part = await session.read()
        if not part:
            break
        seen += part
    return seen


class TestMemoryShells:
    async def test_open_a_terminal_that_sees_only_its_gpus(self) -> None:
        shells = MemoryShells(await provisioned())

        session = await shells.open(ACCESS, SPEC.claim_id, columns=100, rows=30)
        await session.write(b"stty size\rnvidia-smi -L\rexit 3\r")
        seen = await shown(session, until=b"never")

        assert b"30 100\r\n" in seen
        assert [uuid for gpu in NODE.gpus if (uuid := gpu.uuid).encode() in seen] == list(
            SPEC.gpu_uuids
        )
        assert session.exit_status == 3
        assert await session.read() == b""

    async def test_close_and_end_at_the_end_of_input(self) -> None:
        shells = MemoryShells(await provisioned())
        one, two = [await shells.open(ACCESS, SPEC.claim_id, columns=80, rows=24) for _ in range(2)]

        await one.close()
        await two.write(b"\x04")

        assert one.exit_status == 129
        assert two.exit_status == 0
