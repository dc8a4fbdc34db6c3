"""Workers die at every step of a launch, a cancelled launch and a release; others finish the work.

Real processes, killed by SIGKILL; real PostgreSQL and Valkey; simulated hosts over SSH. `make
test` has each step once, `make campaign` every point before, during and after its call. Seen to
fail when a step began without its intent written down, and when a slice was not found by its tag
before it was made again.
"""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpucloud_core.allocations.model import AllocationState
from gpucloud_core.kernel.ids import AllocationId
from world.killable import CANCEL, KILL_DURING, Strike, Worker
from world.work_site import Site, work_site

CAMPAIGN = bool(os.environ.get("CAMPAIGN_ROUNDS"))
AT_ONCE = 6  # workers dying side by side

pytestmark = pytest.mark.timeout(600 if CAMPAIGN else 120)

LAUNCH = ("provision.check_node", "provision.create", "provision.apply_keys", "provision.verify")
CLEANING = ("cleanup.remove", "cleanup.wipe", "cleanup.verify_clean", "cleanup.probe")
RELEASE = ("release.cut_off", *CLEANING)
TURNS_ROUND = Strike("provision.after_create", CANCEL)


def before(call: str) -> Strike:
    return Strike(call.replace(".", ".before_"))


def during(call: str) -> Strike:
    return Strike(call.replace(".", ".before_"), KILL_DURING)


def after(call: str) -> Strike:
    return Strike(call.replace(".", ".after_"))


def everything(calls: Sequence[str]) -> list[Strike]:
    return [kind(call) for call in calls for kind in (before, during, after)]


@dataclass(frozen=True, slots=True)
class Deaths:
    """How workers die in the three courses that work on a node can take, and one after another."""

    launch: list[Strike]
    unwinding: list[Strike]  # by a worker that was told of a cancel after it made the slice
    cancelled: list[Strike]  # of launches that are cancelled while nobody works on them
    release: list[Strike]
    in_a_row: list[Strike]


HAND_OVER, FREE = 5, 5  # which call of its task it is
SOME = Deaths(
    launch=[
        Strike("work.before_call"),
        before("provision.check_node"),
        during("provision.create"),
        after("provision.create"),
        before("provision.apply_keys"),
        after("provision.apply_keys"),
        after("provision.verify"),
        Strike("work.after_call", nth=HAND_OVER),
    ],
    unwinding=[before("cleanup.remove"), after("cleanup.wipe")],
    cancelled=[before("provision.create"), after("provision.create")],
    release=[
        after("release.cut_off"),
        after("cleanup.remove"),
        during("cleanup.wipe"),
        after("cleanup.wipe"),
        before("cleanup.verify_clean"),
        after("cleanup.probe"),
        Strike("work.after_call", nth=FREE),
    ],
    in_a_row=[after("provision.create"), after("provision.verify")],
)
ALL = Deaths(
    launch=[
        *everything(LAUNCH),
        *(Strike("work.before_call", nth=n) for n in range(1, HAND_OVER + 1)),
        *(Strike("work.after_call", nth=n) for n in range(1, HAND_OVER + 1)),
    ],
    unwinding=everything(CLEANING),
    cancelled=everything(LAUNCH),
    release=[
        *everything(RELEASE),
        *(Strike("work.before_call", nth=n) for n in range(1, FREE + 1)),
        *(Strike("work.after_call", nth=n) for n in range(1, FREE + 1)),
    ],
    in_a_row=everything(LAUNCH),
)
DEATHS = ALL if CAMPAIGN else SOME


@pytest.fixture
async def site(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    async with work_site(
        tmp_path,
        database_url=database_url,
        redis_url=redis_url,
        hosts=9 if CAMPAIGN else 3,
        delay_seconds=0.15,  # so that there is a "during"
    ) as made:
        yield made


async def die(
    site: Site, machines: Sequence[AllocationId], deaths: Sequence[Strike], *first: Strike
) -> None:
    """Let a worker of its own take up each machine's task and die one of ``deaths``.

    There may be more machines than deaths; ``first`` happens to each before.
    """
    room = asyncio.Semaphore(AT_ONCE)

    async def one(machine: AllocationId, death: Strike) -> None:
        async with room:
            worker = await site.nursery.one(await site.task_of(machine), *first, death)
            status = await worker.ended()
        assert status == -signal.SIGKILL, f"{death} was not met:\n{site.nursery.words()}"

    await asyncio.gather(*(one(*pair) for pair in zip(machines, deaths, strict=False)))


async def recovered(site: Site) -> Counter[AllocationState]:
    """Let one fresh worker find and finish everything by due rows alone."""
    worker = await site.nursery.serve()
    states = await site.settled()
    await end(worker)
    return states


async def end(worker: Worker) -> None:
    worker.signal(signal.SIGKILL)
    assert await worker.ended() == -signal.SIGKILL


class TestKilledWorker:
    async def test_leaves_nothing_that_another_does_not_finish(self, site: Site) -> None:
        machines = [(await site.launch())[0] for _ in (*DEATHS.launch, *DEATHS.release)]
        turning = [(await site.launch())[0] for _ in DEATHS.unwinding]
        dropped = [(await site.launch())[0] for _ in DEATHS.cancelled]
        await die(site, machines, DEATHS.launch)
        await die(site, turning, DEATHS.unwinding, TURNS_ROUND)
        await die(site, dropped, DEATHS.cancelled)
        for allocation_id in dropped:
            await site.cancel(allocation_id)

        states = await recovered(site)

        gone = {AllocationState.CANCELLED: len(turning) + len(dropped)}
        assert states == {AllocationState.ACTIVE: len(machines), **gone}

        for allocation_id in machines:
            await site.release(allocation_id)
        await die(site, machines[::-1], DEATHS.release)

        states = await recovered(site)

        assert states == {AllocationState.RELEASED: len(machines), **gone}

    async def test_may_be_a_whole_worker_and_the_next_one_too(self, site: Site) -> None:
        machines = await site.launch(8)
        for strike in DEATHS.in_a_row:
            worker = await site.nursery.serve(strike)
            assert await worker.ended() == -signal.SIGKILL, strike

        assert await recovered(site) == {AllocationState.ACTIVE: len(machines)}
