"""Each fault of a simulated host's script, as the real driver meets it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from gpucloud_adapters.simulated.host.faults import Fault, FaultKind
from gpucloud_adapters.simulated.host.identity import public_line
from gpucloud_core.nodes.ports import HostKeyChanged, NodeRefused, NodeUnreachable
from simulated_builders import claim
from world.simulated_host import CUSTOMER, TOPOLOGY, World, simulated_host, spec


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with simulated_host(tmp_path) as running:
        yield running


LATE = 2  # seconds, in place of ninety: what counts is that nobody waits any more


async def given_up(order: Coroutine[Any, Any, object]) -> None:
    """Give an order, and stop waiting for its answer long before it is carried out."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await order


class TestFaults:
    async def test_slow_only_takes_longer(self, world: World) -> None:
        await world.restart(Fault(verb="probe", kind=FaultKind.SLOW, seconds=1))
        begun = asyncio.get_running_loop().time()

        report = await world.driver.probe(world.access)

        assert report.gpu_uuids
        assert asyncio.get_running_loop().time() - begun >= 1

    async def test_late_makes_nothing_of_what_was_given_up_and_undone(self, world: World) -> None:
        """Seen to fail on a node that forgets what was released before it was made."""
        await world.restart(Fault(verb="provision", kind=FaultKind.SLOW, seconds=LATE))
        made = spec()
        await given_up(world.driver.provision(world.access, made))

        await world.driver.release(world.access, made.claim_id)
        proof = await world.driver.wipe(world.access, made.claim_id, made.gpu_uuids)
        await world.operator.finish()  # now the order is carried out that nobody waits for

        assert proof.clean
        assert await world.driver.list_ours(world.access) == ()
        assert await world.driver.verify_clean(world.access, made.claim_id, made.gpu_uuids) == ()

    async def test_late_is_the_same_slice_to_who_asks_again(self, world: World) -> None:
        await world.restart(Fault(verb="provision", kind=FaultKind.SLOW, seconds=LATE))
        made = spec()
        await given_up(world.driver.provision(world.access, made))

        endpoint = await world.driver.provision(world.access, made)
        await world.operator.finish()

        assert await world.driver.provision(world.access, made) == endpoint
        (one,) = await world.driver.list_ours(world.access)
        assert (one.claim_id, one.running) == (made.claim_id, True)

    async def test_late_does_not_take_from_the_next_what_it_was_to_take_from_the_last(
        self, world: World
    ) -> None:
        """An order to release and one to wipe, long overdue, while somebody else has the GPUs."""
        late = (Fault(verb=verb, kind=FaultKind.SLOW, seconds=LATE) for verb in ("release", "wipe"))
        made, later = spec(), spec(2)
        await world.driver.provision(world.access, made)
        await world.restart(*late)
        await given_up(world.driver.release(world.access, made.claim_id))
        await world.driver.release(world.access, made.claim_id)
        await given_up(world.driver.wipe(world.access, made.claim_id, made.gpu_uuids))
        await world.driver.wipe(world.access, made.claim_id, made.gpu_uuids)

        await world.driver.provision(world.access, later)
        await world.operator.finish()

        (one,) = await world.driver.list_ours(world.access)
        assert (one.claim_id, one.running) == (later.claim_id, True)

    async def test_hang_does_nothing_and_never_answers(self, world: World) -> None:
        await world.restart(Fault(verb="provision", kind=FaultKind.HANG))

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await world.driver.provision(world.access, spec())
        assert await world.driver.list_ours(world.access) == ()

    async def test_reset_does_it_and_breaks_the_answer(self, world: World) -> None:
        await world.restart(Fault(verb="provision", kind=FaultKind.RESET))
        made = spec()

        with pytest.raises((NodeUnreachable, NodeRefused)):
            await world.driver.provision(world.access, made)

        assert (await world.driver.verify(world.access, made.claim_id)).running
        assert (await world.driver.provision(world.access, made)).port == made.ssh_port

    async def test_fail_after_doing_says_the_opposite_of_what_is(self, world: World) -> None:
        await world.restart(Fault(verb="release", kind=FaultKind.FAIL_AFTER_DOING))
        made = spec()
        await world.driver.provision(world.access, made)

        with pytest.raises(NodeRefused, match="internal"):
            await world.driver.release(world.access, made.claim_id)

        assert not (await world.driver.verify(world.access, made.claim_id)).exists

    async def test_ok_without_doing_is_found_by_reading_back(self, world: World) -> None:
        await world.restart(
            Fault(verb="provision", kind=FaultKind.OK_WITHOUT_DOING),
            Fault(verb="set-keys", kind=FaultKind.OK_WITHOUT_DOING),
            Fault(verb="wipe", kind=FaultKind.OK_WITHOUT_DOING),
        )
        made, driver, access = spec(), world.driver, world.access

        assert (await driver.provision(access, made)).port == made.ssh_port
        assert not (await driver.verify(access, made.claim_id)).exists
        await driver.provision(access, made)
        assert await driver.set_keys(access, made.claim_id, [public_line(CUSTOMER)])
        assert (await driver.verify(access, made.claim_id)).key_fingerprints == ()
        await driver.release(access, made.claim_id)
        assert (await driver.wipe(access, made.claim_id, made.gpu_uuids)).clean
        assert await driver.verify_clean(access, made.claim_id, made.gpu_uuids)

    async def test_garbage_is_no_answer(self, world: World) -> None:
        await world.restart(
            Fault(verb="verify", kind=FaultKind.GARBAGE),
            Fault(verb="discover", kind=FaultKind.GARBAGE),
        )

        with pytest.raises(NodeRefused):
            await world.driver.verify(world.access, claim(1))
        outputs = (await world.driver.discover(world.access)).outputs
        assert sum("Segmentation fault" in text for text in outputs.values()) == 1

    async def test_gpu_loss_takes_gpus_away_while_it_looks(self, world: World) -> None:
        last = spec(gpu_uuids=(TOPOLOGY.gpus[7].uuid,), gpu_indexes=(7,))
        await world.restart(
            Fault(verb="probe", kind=FaultKind.GPU_LOSS, gpus=3),
            Fault(verb="verify", kind=FaultKind.GPU_LOSS),
            Fault(verb="provision", kind=FaultKind.GPU_LOSS),
            Fault(verb="discover", kind=FaultKind.GPU_LOSS, count=7),
        )

        report = await world.driver.probe(world.access)
        assert len(report.gpu_uuids) == 5
        assert len(report.problems) == 3
        with pytest.raises(NodeRefused, match="unknown_gpu"):
            await world.driver.provision(world.access, last)
        await world.driver.provision(world.access, last)
        assert (await world.driver.verify(world.access, last.claim_id)).gpu_uuids == ()
        found = await world.driver.discover(world.access)
        assert found.outputs["nvidia-smi -L"].count("UUID") == 7
        assert (await world.driver.verify(world.access, last.claim_id)).gpu_uuids

    async def test_wrong_host_key_is_shown_so_many_times(self, world: World) -> None:
        made = spec()
        host_key = await world.provisioned(made)
        await world.restart(
            Fault(verb="connect", kind=FaultKind.WRONG_HOST_KEY),
            Fault(verb="login", kind=FaultKind.WRONG_HOST_KEY),
        )

        with pytest.raises(HostKeyChanged):
            await world.driver.probe(world.access)
        assert (await world.driver.probe(world.access)).reachable
        with pytest.raises(asyncssh.HostKeyNotVerifiable):
            async with world.customer(made, host_key):
                pass
        async with world.customer(made, host_key) as connection:
            assert (await connection.run("whoami")).exit_status == 0

    async def test_reset_at_the_door_is_a_node_that_does_not_answer(self, world: World) -> None:
        await world.restart(Fault(verb="connect", kind=FaultKind.RESET))

        with pytest.raises(NodeUnreachable):
            await world.driver.probe(world.access)
        assert (await world.driver.probe(world.access)).reachable
