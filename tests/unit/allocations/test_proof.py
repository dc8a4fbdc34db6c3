"""What counts as proof of a wipe: only the whole of it, of this claim, and made after its end.

Seen to fail when the instant of a proof was not compared (an old one was replayed and the GPUs
were sold again), and when devices were counted with their repetitions.
"""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access_builders import NOON
from customer import Customer
from gpucloud_core.allocations.model import AllocationState
from gpucloud_core.allocations.proof import CLOCK_SKEW, redated, wipe_objection
from gpucloud_core.catalog.model import Beside
from gpucloud_core.kernel.ids import ClaimId, entity_id
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.nodes.model import DiskWipe, NodeAccess, SlotState, WipeEvidence

CLAIM, OTHER = (ClaimId(entity_id("clm", number)) for number in (1, 2))
GPUS = 2
PROOF = WipeEvidence(
    claim_id=CLAIM,
    at=NOON,
    method="overwrite",
    device_serials=("a", "b"),
    command_hash="sha256:1",
    random_reads=(("0", "00"),),
    clean=True,
)
MOMENT = timedelta(microseconds=1)
DEFECTS: dict[str, dict[str, object]] = {
    "of another claim": {"claim_id": OTHER},
    "older than the claim's end": {"at": NOON - CLOCK_SKEW - MOMENT},
    "of a node that found something": {"clean": False},
    "without a device": {"device_serials": ("a",)},
    "with one device twice": {"device_serials": ("a", "a")},
    "without devices": {"device_serials": ()},
    "without a command": {"command_hash": ""},
    "without a read-back": {"random_reads": ()},
}


ERASED = DiskWipe(
    name="nvme1n1", serial="s", method="discard", size_bytes=1, reads=(("0", "00"),), clean=True
)
DISK_DEFECTS: dict[str, tuple[DiskWipe, ...]] = {
    "without the disk": (),
    "of another disk": (replace(ERASED, name="nvme2n1"),),
    "of a disk that was not read": (replace(ERASED, reads=()),),
    "of a disk that is not blank": (replace(ERASED, clean=False),),
}


def objection(proof: WipeEvidence, *disks: str) -> str | None:
    return wipe_objection(proof, claim_id=CLAIM, gpu_count=GPUS, not_before=NOON, disks=disks)


class TestAProof:
    @given(skew=st.integers(0, int(CLOCK_SKEW.total_seconds())))
    def test_is_believed_from_a_clock_that_is_a_little_off(self, skew: int) -> None:
        for seconds in (-skew, skew):
            assert objection(replace(PROOF, at=NOON + timedelta(seconds=seconds))) is None

    @given(defects=st.sets(st.sampled_from(sorted(DEFECTS)), min_size=1))
    def test_is_refused_with_any_defect(self, defects: set[str]) -> None:
        proof = PROOF
        for defect in sorted(defects):
            proof = replace(proof, **DEFECTS[defect])  # type: ignore[arg-type]  # checked by replace

        assert objection(proof)

    @pytest.mark.parametrize("defect", sorted(DISK_DEFECTS))
    def test_has_to_show_each_disk_erased(self, defect: str) -> None:
        good = replace(PROOF, disks=(ERASED,))
        bad = replace(PROOF, disks=DISK_DEFECTS[defect])

        assert objection(good, "nvme1n1") is None
        assert objection(good) is None
        assert objection(bad, "nvme1n1") == "the proof does not show that nvme1n1 was erased"


class Replayer(Customer):
    """A customer whose node answers with a proof that it has from somewhere."""

    def replays(self, **stolen: object) -> None:
        wipe = self.cloud.driver.wipe

        async def replayed(
            access: NodeAccess,
            claim_id: ClaimId,
            gpu_uuids: tuple[str, ...],
            disks: tuple[str, ...] = (),
        ) -> WipeEvidence:
            proof = await wipe(access, claim_id, gpu_uuids, disks)
            return replace(proof, **stolen)  # type: ignore[arg-type]  # checked by replace

        self.cloud.driver.wipe = replayed  # type: ignore[assignment,method-assign]  # that is the point

    def has_slow_clock(self, slow: timedelta) -> None:
        """Let the node date all it says by a clock that is behind."""
        clock = self.cloud.clock

        class Slow:
            def now(self) -> datetime:
                return clock.now() - slow

        self.cloud.driver._clock = Slow()


class TestARelease:
    @pytest.mark.parametrize("defect", ["of another claim", "older than the claim's end"])
    async def test_stays_fenced_on_a_proof_that_is_replayed(self, defect: str) -> None:
        ada = await Replayer.arrive()
        allocation = await ada.launch(8)
        await ada.cloud.work()
        old = ada.cloud.clock.now() - timedelta(days=1)
        ada.replays(**({"at": old} if "older" in defect else DEFECTS[defect]))

        await ada.cloud.release(ada.actor, allocation)
        await ada.cloud.pass_time(timedelta(minutes=30))

        view = await ada.cloud.read(ada.actor, allocation)
        assert view.allocation.state is AllocationState.RELEASE_FAILED
        assert view.allocation.release_failed_reason == "wipe_unproven"
        assert await ada.slots() == {SlotState.CLEANUP_BLOCKED}
        assert "wipe" not in view.allocation.receipt


class TestADataDisk:
    """Seen to fail when a wipe's proof was taken without a look at the disks in it."""

    async def owner(self) -> Replayer:
        ada = await Replayer.arrive()
        async with ada.cloud.transactions.begin(Scope.platform()) as unit:
            for sku in await unit.skus.find():
                await unit.skus.put(replace(sku, beside=Beside.DISK))
        return ada

    async def test_is_given_erased_and_in_the_receipt(self) -> None:
        ada = await self.owner()
        allocation = await ada.launch(2)
        await ada.cloud.work()
        view = await ada.cloud.read(ada.actor, allocation)
        assert view.allocation.state is AllocationState.ACTIVE
        names = [disk.name for disk in view.disks]
        assert len(set(names)) == 2
        assert "Each of its GPUs comes with a local disk of its own." in view.why_here

        await ada.cloud.release(ada.actor, allocation)
        await ada.cloud.pass_time(timedelta(minutes=30))

        view = await ada.cloud.read(ada.actor, allocation)
        assert view.allocation.state is AllocationState.RELEASED
        wipe = view.allocation.receipt["wipe"]
        assert isinstance(wipe, dict)
        disks = wipe["disks"]
        assert isinstance(disks, list)
        assert [disk["name"] for disk in disks if isinstance(disk, dict)] == names

    async def test_that_is_not_proven_erased_fences_its_slot(self) -> None:
        ada = await self.owner()
        allocation = await ada.launch(1)
        await ada.cloud.work()
        ada.replays(disks=())

        await ada.cloud.release(ada.actor, allocation)
        await ada.cloud.pass_time(timedelta(minutes=30))

        view = await ada.cloud.read(ada.actor, allocation)
        assert view.allocation.state is AllocationState.RELEASE_FAILED
        assert view.allocation.release_failed_reason == "wipe_unproven"
        assert SlotState.CLEANUP_BLOCKED in await ada.slots()


class TestASlowClock:
    """Seen to fail when a proof was judged by its node's own date alone: fenced for ever."""

    @given(slow=st.timedeltas(timedelta(0), timedelta(days=4000)))
    def test_is_seen_through_whatever_it_shows(self, slow: timedelta) -> None:
        made = replace(PROOF, at=NOON - slow)

        dated = redated(made, node_clock=NOON + MOMENT - slow, now=NOON + MOMENT)

        assert dated == PROOF

    async def test_does_not_keep_capacity_fenced(self) -> None:
        ada = await Replayer.arrive()
        allocation = await ada.launch(8)
        await ada.cloud.work()
        ada.has_slow_clock(timedelta(days=2))

        await ada.cloud.release(ada.actor, allocation)
        await ada.cloud.pass_time(timedelta(minutes=30))

        view = await ada.cloud.read(ada.actor, allocation)
        assert view.allocation.state is AllocationState.RELEASED
        assert await ada.slots() == {SlotState.AVAILABLE}
        wipe, asked = view.allocation.receipt["wipe"], view.allocation.release_requested_at
        assert isinstance(wipe, dict)
        assert asked is not None
        assert datetime.fromisoformat(str(wipe["verified_at"])) >= asked, "it has our date"
