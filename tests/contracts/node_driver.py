"""What every way to reach nodes promises: ``NodeDriver``; ``Shells`` stands beside it.

The memory driver passes this in ``unit``; the SSH driver passes it in ``integration``, against the
simulated host and against a real node. A ``NodeRig`` gives the implementation and a way behind its
back: the suite never trusts what it tests to say what is on the node.

Seen to fail when the real node answered the fingerprints it was sent instead of reading them back
from the slice and wrote no file (``test_lets_in_exactly_the_keys_given``), and when its release
left the network namespace behind (``test_leaves_nothing_once_wiped``).
"""

from dataclasses import replace
from typing import Any, Final

import pytest

from contracts.node_rig import NodeRig, WithRig, read_to_end, read_until
from contracts.shells import ShellsContract
from gpucloud_core.nodes.model import NodeMode, OwnedSlice
from gpucloud_core.nodes.ports import HostKeyChanged, NodeRefused, NodeUnreachable
from gpucloud_core.nodes.wire import DISCOVERY_COMMANDS
from gpucloud_core.nodes.wire_values import public_key
from slice_builders import ALICE, BOB, a_public_key, fingerprints

__all__ = ["NodeDriverContract", "NodeRig", "ShellsContract"]

POISON: Final[tuple[tuple[str, Any], ...]] = (
    ("claim_id", "clm_../../../etc/passwd"),
    ("hostname", "x; reboot"),
    ("username", "root"),
    ("username", "a\nb"),
    ("image", "$(reboot)"),
    ("cpus", "0-1;"),
    ("ssh_host", "-oProxyCommand=reboot"),
    ("ssh_cidrs", ("0.0.0.0/0 accept; reboot",)),
    ("inbound", ((0, ()),)),
    ("memory_mib", 0),
)
"""Fields of a slice, and what must never reach a node in them."""

NO_KEYS: Final = (
    f'command="reboot" {BOB}',
    f"{BOB} a\n{ALICE}",
    BOB[:-8],
    "ssh-dss AAAAB3NzaC1kc3MAAAABAAAAAQAAAAEAAAABAA==",
    "",
)


class NodeDriverContract(WithRig):
    """Subclassed for each implementation."""

    # ---- the node ------------------------------------------------------------------------------

    async def test_probes_the_gpus_that_are_there(self, rig: NodeRig) -> None:
        report = await rig.driver.probe(rig.access)

        assert report.reachable
        assert set(report.gpu_uuids) == rig.gpus
        assert report.problems == ()

    async def test_discovers_in_the_words_of_the_nodes_own_tools(self, rig: NodeRig) -> None:
        found = await rig.driver.discover(rig.access)

        assert found.outputs.keys() <= {" ".join(argv) for argv in DISCOVERY_COMMANDS}
        assert "MemTotal" in found.outputs["cat /proc/meminfo"]

    async def test_says_which_mode_it_is_in(self, rig: NodeRig) -> None:
        assert await rig.driver.set_mode(rig.access, NodeMode.CONTAINER) is NodeMode.CONTAINER

    async def test_changes_no_mode_while_anything_of_ours_is_on_it(self, rig: NodeRig) -> None:
        spec = rig.spec()
        await rig.driver.provision(rig.access, spec)
        await rig.driver.release(rig.access, spec.claim_id)

        with pytest.raises(NodeRefused):
            await rig.driver.set_mode(rig.access, NodeMode.VM)

        await rig.driver.wipe(rig.access, spec.claim_id, spec.gpu_uuids)
        assert await rig.driver.set_mode(rig.access, NodeMode.CONTAINER) is NodeMode.CONTAINER

    async def test_says_that_nobody_answers(self, rig: NodeRig) -> None:
        with pytest.raises(NodeUnreachable):
            await rig.driver.probe(rig.nobody)

    async def test_trusts_no_machine_with_another_host_key(self, rig: NodeRig) -> None:
        other = replace(rig.access, host_key=a_public_key("an impostor"))
        spec = rig.spec()

        with pytest.raises(HostKeyChanged):
            await rig.driver.provision(other, spec)

        assert not (await rig.driver.verify(rig.access, spec.claim_id)).exists

    # ---- making --------------------------------------------------------------------------------

    async def test_provisions_what_was_asked_with_no_keys_in_it(self, rig: NodeRig) -> None:
        spec = rig.spec(1, 2, ssh_cidrs=("0.0.0.0/0", "10.0.0.5/32", "2001:db8::/32"))

        endpoint = await rig.driver.provision(rig.access, spec)

        assert (endpoint.host, endpoint.port) == (spec.ssh_host, spec.ssh_port)
        assert endpoint.username == spec.username
        assert public_key(endpoint.host_key).fingerprint == endpoint.host_key_fingerprint
        evidence = await rig.driver.verify(rig.access, spec.claim_id)
        assert evidence.exists
        assert evidence.running
        assert evidence.ssh_ready
        assert set(evidence.gpu_uuids) == set(spec.gpu_uuids)
        assert evidence.key_fingerprints == ()
        assert set(evidence.ssh_cidrs) == set(spec.ssh_cidrs)
        assert await rig.let_in(spec.claim_id) == ()

    async def test_provisions_the_same_twice_and_makes_one(self, rig: NodeRig) -> None:
        spec = rig.spec()
        first = await rig.driver.provision(rig.access, spec)
        await rig.driver.set_keys(rig.access, spec.claim_id, [ALICE])

        again = await rig.driver.provision(rig.access, spec)

        assert again == first
        assert set(await rig.let_in(spec.claim_id)) == fingerprints(ALICE)
        assert await rig.driver.list_ours(rig.access) == (
            OwnedSlice(claim_id=spec.claim_id, allocation_id=spec.allocation_id, running=True),
        )

    async def test_moves_its_fence_with_a_newer_generation(self, rig: NodeRig) -> None:
        spec = rig.spec()
        first = await rig.driver.provision(rig.access, replace(spec, generation=2))
        assert await rig.driver.provision(rig.access, replace(spec, generation=3)) == first

        with pytest.raises(NodeRefused, match="stale_generation"):
            await rig.driver.provision(rig.access, replace(spec, generation=2))

    async def test_does_not_make_another_slice_of_the_same_claim(self, rig: NodeRig) -> None:
        spec = rig.spec(0)
        await rig.driver.provision(rig.access, spec)
        other = rig.slots[1]

        with pytest.raises(NodeRefused, match="spec_changed"):
            await rig.driver.provision(
                rig.access,
                replace(spec, generation=2, gpu_uuids=(other.gpu_uuid,), gpu_indexes=(1,)),
            )

        evidence = await rig.driver.verify(rig.access, spec.claim_id)
        assert evidence.gpu_uuids == spec.gpu_uuids

    async def test_gives_nothing_twice(self, rig: NodeRig) -> None:
        await rig.driver.provision(rig.access, rig.spec(0, 1))
        same_gpu = rig.spec(1, 2)
        same_address = rig.spec(3, ssh_host=rig.slots[0].ssh_host, ssh_port=rig.slots[0].ssh_port)

        with pytest.raises(NodeRefused, match="gpu_in_use"):
            await rig.driver.provision(rig.access, same_gpu)
        with pytest.raises(NodeRefused, match="address_in_use"):
            await rig.driver.provision(rig.access, same_address)

        assert not (await rig.driver.verify(rig.access, same_gpu.claim_id)).exists
        assert not (await rig.driver.verify(rig.access, same_address.claim_id)).exists

    async def test_makes_nothing_of_a_gpu_that_is_not_there(self, rig: NodeRig) -> None:
        spec = rig.spec(0, gpu_uuids=("GPU-ffffffff-ffff-ffff-ffff-ffffffffffff",))

        with pytest.raises(NodeRefused, match="unknown_gpu"):
            await rig.driver.provision(rig.access, spec)

    async def test_sends_no_value_that_could_be_a_command(self, rig: NodeRig) -> None:
        spec = rig.spec()

        for name, value in POISON:
            with pytest.raises(NodeRefused, match=name):
                await rig.driver.provision(rig.access, replace(spec, **{name: value}))

        assert await rig.driver.list_ours(rig.access) == ()

    # ---- keys ----------------------------------------------------------------------------------

    async def test_lets_in_exactly_the_keys_given(self, rig: NodeRig) -> None:
        spec = rig.spec()
        await rig.driver.provision(rig.access, spec)

        for keys in ([ALICE, BOB], [ALICE, BOB], [f"{BOB} bob@example.com"], []):
            answer = await rig.driver.set_keys(rig.access, spec.claim_id, keys)

            assert set(answer) == fingerprints(*keys)
            assert set(await rig.let_in(spec.claim_id)) == fingerprints(*keys)
            evidence = await rig.driver.verify(rig.access, spec.claim_id)
            assert set(evidence.key_fingerprints) == fingerprints(*keys)

    async def test_lets_in_nothing_that_is_not_a_plain_key(self, rig: NodeRig) -> None:
        spec = rig.spec()
        await rig.driver.provision(rig.access, spec)
        await rig.driver.set_keys(rig.access, spec.claim_id, [ALICE])

        for line in NO_KEYS:
            with pytest.raises(NodeRefused, match="key"):
                await rig.driver.set_keys(rig.access, spec.claim_id, [line])

        assert set(await rig.let_in(spec.claim_id)) == fingerprints(ALICE)

    async def test_has_no_keys_to_set_in_what_never_was(self, rig: NodeRig) -> None:
        with pytest.raises(NodeRefused, match="not_found"):
            await rig.driver.set_keys(rig.access, rig.spec().claim_id, [ALICE])

    # ---- restarting ----------------------------------------------------------------------------

    async def test_restarts_and_keeps_what_the_slice_is(self, rig: NodeRig) -> None:
        spec = rig.spec(0, 1, ssh_cidrs=("0.0.0.0/0",))
        first = await rig.driver.provision(rig.access, spec)
        await rig.driver.set_keys(rig.access, spec.claim_id, [ALICE])
        before = await rig.driver.verify(rig.access, spec.claim_id)

        await rig.driver.restart(rig.access, spec.claim_id, 5)

        assert await rig.driver.verify(rig.access, spec.claim_id) == before
        assert before.ssh_ready
        assert set(await rig.let_in(spec.claim_id)) == fingerprints(ALICE)
        assert await rig.driver.provision(rig.access, spec) == first, "with the same host key"

    async def test_restarts_once_for_each_order(self, rig: NodeRig) -> None:
        spec = rig.spec()
        await rig.driver.provision(rig.access, spec)
        early = await rig.shells.open(rig.access, spec.claim_id, columns=80, rows=24)

        await rig.driver.restart(rig.access, spec.claim_id, 5)
        await read_to_end(early)
        late = await rig.shells.open(rig.access, spec.claim_id, columns=80, rows=24)
        await rig.driver.restart(rig.access, spec.claim_id, 5)

        await late.write(b"echo still $((40 + 2)) here\r")
        await read_until(late, "still ")
        with pytest.raises(NodeRefused, match="stale_generation"):
            await rig.driver.restart(rig.access, spec.claim_id, 4)
        await rig.driver.restart(rig.access, spec.claim_id, 6)
        await read_to_end(late)
        await early.close()
        await late.close()

    async def test_restarts_nothing_that_is_to_end(self, rig: NodeRig) -> None:
        spec = rig.spec()
        with pytest.raises(NodeRefused, match="not_found"):
            await rig.driver.restart(rig.access, spec.claim_id, 5)
        await rig.driver.provision(rig.access, spec)
        await rig.driver.cut_off(rig.access, spec.claim_id)

        with pytest.raises(NodeRefused, match="cut_off"):
            await rig.driver.restart(rig.access, spec.claim_id, 5)

        assert not (await rig.driver.verify(rig.access, spec.claim_id)).running

    # ---- the end -------------------------------------------------------------------------------

    async def test_cuts_off_for_good(self, rig: NodeRig) -> None:
        spec = rig.spec()
        await rig.driver.provision(rig.access, spec)
        await rig.driver.set_keys(rig.access, spec.claim_id, [ALICE])

        await rig.driver.cut_off(rig.access, spec.claim_id)
        await rig.driver.cut_off(rig.access, spec.claim_id)

        evidence = await rig.driver.verify(rig.access, spec.claim_id)
        assert evidence.exists
        assert not evidence.running
        assert not evidence.ssh_ready
        for again in (spec, replace(spec, generation=2)):
            with pytest.raises(NodeRefused, match="cut_off"):
                await rig.driver.provision(rig.access, again)
        with pytest.raises(NodeRefused, match="cut_off"):
            await rig.driver.set_keys(rig.access, spec.claim_id, [BOB])
        with pytest.raises(NodeRefused):
            await rig.shells.open(rig.access, spec.claim_id, columns=80, rows=24)

    async def test_ends_what_never_was_without_a_word(self, rig: NodeRig) -> None:
        spec = rig.spec()

        await rig.driver.cut_off(rig.access, spec.claim_id)
        await rig.driver.release(rig.access, spec.claim_id)
        proof = await rig.driver.wipe(rig.access, spec.claim_id, spec.gpu_uuids)

        assert proof.clean
        assert proof.random_reads
        assert await rig.driver.verify_clean(rig.access, spec.claim_id, spec.gpu_uuids) == ()
        assert not (await rig.driver.verify(rig.access, spec.claim_id)).exists

    async def test_is_not_clean_before_it_is_wiped(self, rig: NodeRig) -> None:
        spec = rig.spec()
        await rig.driver.provision(rig.access, spec)
        assert await rig.driver.verify_clean(rig.access, spec.claim_id, spec.gpu_uuids)
        assert await rig.traces(spec.claim_id)

        await rig.driver.release(rig.access, spec.claim_id)
        await rig.driver.release(rig.access, spec.claim_id)

        assert not (await rig.driver.verify(rig.access, spec.claim_id)).exists
        assert await rig.driver.list_ours(rig.access) == (
            OwnedSlice(claim_id=spec.claim_id, allocation_id=spec.allocation_id, running=False),
        ), "what it left behind is found, whoever forgot it"
        assert await rig.driver.verify_clean(rig.access, spec.claim_id, spec.gpu_uuids)

    async def test_wipes_nothing_that_is_still_there(self, rig: NodeRig) -> None:
        spec, bystander = rig.spec(0), rig.spec(1)
        await rig.driver.provision(rig.access, spec)

        with pytest.raises(NodeRefused, match="still_there"):
            await rig.driver.wipe(rig.access, spec.claim_id, spec.gpu_uuids)
        with pytest.raises(NodeRefused, match="gpu_in_use"):
            await rig.driver.wipe(rig.access, bystander.claim_id, spec.gpu_uuids)

        assert (await rig.driver.verify(rig.access, spec.claim_id)).running

    async def test_proves_the_wipe_for_this_claim_and_its_devices(self, rig: NodeRig) -> None:
        spec = rig.spec(0, 1)
        await rig.driver.provision(rig.access, spec)
        await rig.driver.cut_off(rig.access, spec.claim_id)
        await rig.driver.release(rig.access, spec.claim_id)

        proof = await rig.driver.wipe(rig.access, spec.claim_id, spec.gpu_uuids)

        assert proof.clean
        assert proof.claim_id == spec.claim_id
        assert len(set(proof.device_serials)) == len(spec.gpu_uuids)
        assert proof.method
        assert proof.random_reads
        assert len(proof.command_hash) == 64
        assert await rig.driver.wipe(rig.access, spec.claim_id, spec.gpu_uuids) == proof

    async def test_gives_a_slice_its_data_disks_and_no_other(self, rig: NodeRig) -> None:
        with_disks, without = rig.spec(0, 1, disks=rig.disks(0, 1)), rig.spec(2)

        for spec in (with_disks, without):
            await rig.driver.provision(rig.access, spec)
            await rig.driver.restart(rig.access, spec.claim_id, 1)

            seen = await rig.driver.verify(rig.access, spec.claim_id)
            assert set(seen.disks) == set(spec.disks)

    async def test_gives_no_disk_twice_nor_one_that_is_not_lent(self, rig: NodeRig) -> None:
        held = rig.spec(0, disks=rig.disks(0))
        await rig.driver.provision(rig.access, held)

        with pytest.raises(NodeRefused, match="disk_in_use"):
            await rig.driver.provision(rig.access, rig.spec(1, disks=held.disks))
        with pytest.raises(NodeRefused, match="unknown_disk"):
            await rig.driver.provision(rig.access, rig.spec(2, disks=("nvme77n1",)))

    async def test_proves_of_each_data_disk_that_it_was_erased(self, rig: NodeRig) -> None:
        spec = rig.spec(0, 1, disks=rig.disks(0, 1))
        ask = rig.access, spec.claim_id, spec.gpu_uuids, spec.disks
        await rig.driver.provision(rig.access, spec)
        await rig.driver.release(rig.access, spec.claim_id)
        assert await rig.driver.verify_clean(*ask)

        proof = await rig.driver.wipe(*ask)

        assert proof.clean
        assert {disk.name for disk in proof.disks} == set(spec.disks)
        assert len({disk.serial for disk in proof.disks}) == 2
        for disk in proof.disks:
            assert disk.clean
            assert disk.size_bytes > 0
            assert disk.reads
        assert await rig.driver.wipe(*ask) == proof
        assert await rig.driver.verify_clean(*ask) == ()

    async def test_gives_an_erased_disk_to_the_next(self, rig: NodeRig) -> None:
        for _ in range(2):
            spec = rig.spec(0, disks=rig.disks(0))
            await rig.driver.provision(rig.access, spec)
            assert (await rig.driver.verify(rig.access, spec.claim_id)).disks == spec.disks
            await rig.driver.release(rig.access, spec.claim_id)
            assert (await rig.driver.wipe(rig.access, spec.claim_id, spec.gpu_uuids)).clean

    async def test_proves_disks_that_were_never_touched_too(self, rig: NodeRig) -> None:
        spec = rig.spec(0, disks=rig.disks(0))
        ask = rig.access, spec.claim_id, spec.gpu_uuids, spec.disks

        proof = await rig.driver.wipe(*ask)

        assert [(disk.name, disk.clean) for disk in proof.disks] == [(spec.disks[0], True)]
        assert await rig.driver.verify_clean(*ask) == ()

    async def test_leaves_nothing_once_wiped(self, rig: NodeRig) -> None:
        spec = rig.spec(0, 1)
        await rig.driver.provision(rig.access, spec)
        await rig.driver.set_keys(rig.access, spec.claim_id, [ALICE])

        await rig.clear(spec)

        assert await rig.driver.verify_clean(rig.access, spec.claim_id, spec.gpu_uuids) == ()
        assert await rig.traces(spec.claim_id) == ()

    async def test_does_not_bring_back_what_was_released(self, rig: NodeRig) -> None:
        spec = rig.spec()
        await rig.driver.provision(rig.access, spec)
        await rig.driver.release(rig.access, spec.claim_id)

        for late in (spec, replace(spec, generation=9)):
            with pytest.raises(NodeRefused, match="stale_generation"):
                await rig.driver.provision(rig.access, late)
        await rig.driver.wipe(rig.access, spec.claim_id, spec.gpu_uuids)
        for late in (spec, replace(spec, generation=9)):
            with pytest.raises(NodeRefused, match="stale_generation"):
                await rig.driver.provision(rig.access, late)

        assert await rig.driver.list_ours(rig.access) == ()

    async def test_does_not_make_what_was_released_before_it_was_made(self, rig: NodeRig) -> None:
        released, wiped = rig.spec(), rig.spec()
        await rig.driver.release(rig.access, released.claim_id)
        await rig.driver.wipe(rig.access, wiped.claim_id, wiped.gpu_uuids)

        for held_up in (released, replace(released, generation=2), wiped):
            with pytest.raises(NodeRefused, match="stale_generation"):
                await rig.driver.provision(rig.access, held_up)

        assert await rig.driver.list_ours(rig.access) == ()
        for spec in (released, wiped):
            assert not await rig.driver.verify_clean(rig.access, spec.claim_id, spec.gpu_uuids)

    async def test_fences_a_gpu_until_it_is_wiped(self, rig: NodeRig) -> None:
        first, second = rig.spec(0), rig.spec(0)
        await rig.driver.provision(rig.access, first)
        await rig.driver.release(rig.access, first.claim_id)
        with pytest.raises(NodeRefused, match="gpu_in_use"):
            await rig.driver.provision(rig.access, second)

        await rig.driver.wipe(rig.access, first.claim_id, first.gpu_uuids)

        await rig.driver.provision(rig.access, second)
        assert (await rig.driver.verify(rig.access, second.claim_id)).running
        assert await rig.let_in(second.claim_id) == ()

    async def test_does_not_touch_its_neighbours(self, rig: NodeRig) -> None:
        goes, stays = rig.spec(0), rig.spec(1)
        for spec in (goes, stays):
            await rig.driver.provision(rig.access, spec)
            await rig.driver.set_keys(rig.access, spec.claim_id, [ALICE])
        before = await rig.driver.verify(rig.access, stays.claim_id)

        await rig.driver.cut_off(rig.access, goes.claim_id)
        await rig.clear(goes)

        assert await rig.driver.verify(rig.access, stays.claim_id) == before
        assert [each.claim_id for each in await rig.driver.list_ours(rig.access)] == [
            stays.claim_id
        ]
