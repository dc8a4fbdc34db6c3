"""A worker that stops, is given up, and comes back: its late results and its late orders.

The worker is a real process under SIGSTOP, mostly for longer than its lease. Seen to fail when a
runner took up what is under another's lease, when it applied a result without looking whose lease
it is, and when a host made a slice of a claim that had been released before.
"""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gpucloud_core.allocations.model import AllocationState
from gpucloud_core.kernel.ids import AllocationId
from gpucloud_core.kernel.unit import Scope
from world.killable import LEASE_SECONDS, STOP, Strike, Worker
from world.work_site import Site, work_site

BEFORE_CREATE = Strike("work.before_call", STOP, nth=2)
"""Outside the step's own time limit, so that a late order is really given."""


@pytest.fixture
async def site(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    async with work_site(tmp_path, database_url=database_url, redis_url=redis_url) as made:
        yield made


async def stopped(site: Site, machine: AllocationId, strike: Strike) -> Worker:
    """Let a worker take the machine's task up and stop at ``strike``."""
    worker = await site.nursery.one(await site.task_of(machine), strike)
    await worker.stopped()
    return worker


async def come_back(worker: Worker) -> None:
    """Let it go on to where it finds that the task is not its own any more."""
    worker.signal(signal.SIGCONT)
    assert await worker.ended(LEASE_SECONDS * 3) == 0


async def fence_of(site: Site, machine: AllocationId) -> tuple[int, object]:
    """Return what every write to the machine's task changes."""
    async with site.market.transactions.begin(Scope.platform()) as unit:
        task = await unit.tasks.get(await site.task_of(machine))
        assert task is not None
        return task.generation, await unit.task_events.count(task_id=task.id)


class TestLateWorker:
    async def test_is_left_alone_while_its_lease_lasts(self, site: Site) -> None:
        [machine] = await site.launch()
        task = await site.task_of(machine)
        strike = Strike("provision.after_create", STOP)
        slow = await site.nursery.one(task, strike, lease_seconds=60)
        await slow.stopped()
        before = await fence_of(site, machine)

        other = await site.nursery.one(task)
        assert await other.ended() == 0

        assert await fence_of(site, machine) == before
        slow.signal(signal.SIGCONT)
        assert await slow.ended() == 0
        assert await site.settled() == {AllocationState.ACTIVE: 1}

    async def test_finds_its_results_dropped(self, site: Site) -> None:
        machines = [(await site.launch())[0] for _ in range(3)]
        points = ("provision.after_create", "provision.after_apply_keys", "provision.after_verify")
        late = [
            await stopped(site, machine, Strike(point, STOP))
            for machine, point in zip(machines, points, strict=True)
        ]
        other = await site.nursery.serve()
        assert await site.settled() == {AllocationState.ACTIVE: 3}
        before = [await fence_of(site, machine) for machine in machines]

        for worker in late:
            await come_back(worker)

        assert [await fence_of(site, machine) for machine in machines] == before
        assert await site.settled() == {AllocationState.ACTIVE: 3}
        other.signal(signal.SIGKILL)

    async def test_makes_nothing_for_a_claim_that_has_ended(self, site: Site) -> None:
        released, cancelled = [(await site.launch())[0] for _ in range(2)]
        late = [await stopped(site, machine, BEFORE_CREATE) for machine in (released, cancelled)]
        await site.cancel(cancelled)
        other = await site.nursery.serve()
        ends = {AllocationState.CANCELLED: 1}
        assert await site.settled() == {AllocationState.ACTIVE: 1, **ends}
        await site.release(released)
        assert await site.settled() == {AllocationState.RELEASED: 1, **ends}

        for worker in late:
            await come_back(worker)

        assert await site.settled() == {AllocationState.RELEASED: 1, **ends}
        other.signal(signal.SIGKILL)

    async def test_touches_nothing_of_the_next_tenant(self, site: Site) -> None:
        machines = await site.launch(8)
        other = await site.nursery.serve()
        assert await site.settled() == {AllocationState.ACTIVE: 8}
        other.signal(signal.SIGKILL)
        points = (
            *("release.before_cut_off", "cleanup.before_remove", "cleanup.after_remove"),
            *("cleanup.before_wipe", "cleanup.after_wipe", "cleanup.before_verify_clean"),
        )
        late = []
        for number, machine in enumerate(machines):
            await site.release(machine)
            if number < len(points):
                late.append(await stopped(site, machine, Strike(points[number], STOP)))
        other = await site.nursery.serve()
        assert await site.settled() == {AllocationState.RELEASED: 8}
        await site.launch(8)
        full = {AllocationState.RELEASED: 8, AllocationState.ACTIVE: 8}
        assert await site.settled() == full

        for worker in late:
            await come_back(worker)

        assert await site.settled() == full
        other.signal(signal.SIGKILL)
