"""What every way into a slice promises: ``Shells``, over the same rig as the driver's contract."""

from dataclasses import replace

import pytest

from contracts.node_rig import NodeRig, WithRig, read_to_end, read_until, status
from gpucloud_core.nodes.ports import HostKeyChanged, NodeRefused
from slice_builders import a_public_key


class ShellsContract(WithRig):
    """Subclassed for each implementation."""

    async def test_is_the_slices_own_shell(self, rig: NodeRig) -> None:
        spec = rig.spec()
        await rig.driver.provision(rig.access, spec)

        session = await rig.shells.open(rig.access, spec.claim_id, columns=80, rows=24)
        assert status(session) is None
        await session.resize(120, 40)
        await session.write(b"echo it is $((40 + 2)) here\r")
        await read_until(session, "it is ")
        await session.write(b"exit\r")
        await read_to_end(session)

        assert status(session) == 0
        assert await session.read() == b""
        await session.write(b"too late")
        await session.close()

    async def test_tells_how_it_ended(self, rig: NodeRig) -> None:
        spec = rig.spec()
        await rig.driver.provision(rig.access, spec)
        session = await rig.shells.open(rig.access, spec.claim_id, columns=80, rows=24)

        await session.write(b"exit 7\r")
        await read_to_end(session)

        assert status(session) == 7
        await session.close()

    async def test_closes_twice_and_reads_nothing_more(self, rig: NodeRig) -> None:
        spec = rig.spec()
        await rig.driver.provision(rig.access, spec)
        session = await rig.shells.open(rig.access, spec.claim_id, columns=80, rows=24)

        await session.close()
        await session.close()

        await read_to_end(session)

    async def test_ends_when_the_slice_is_cut_off(self, rig: NodeRig) -> None:
        spec = rig.spec()
        await rig.driver.provision(rig.access, spec)
        session = await rig.shells.open(rig.access, spec.claim_id, columns=80, rows=24)

        await rig.driver.cut_off(rig.access, spec.claim_id)

        await read_to_end(session)
        await session.close()

    async def test_opens_nothing_where_there_is_no_slice(self, rig: NodeRig) -> None:
        with pytest.raises(NodeRefused):
            await rig.shells.open(rig.access, rig.spec().claim_id, columns=80, rows=24)

    async def test_opens_nothing_on_a_machine_with_another_host_key(self, rig: NodeRig) -> None:
        spec = rig.spec()
        await rig.driver.provision(rig.access, spec)
        other = replace(rig.access, host_key=a_public_key("an impostor"))

        with pytest.raises(HostKeyChanged):
            await rig.shells.open(other, spec.claim_id, columns=80, rows=24)
