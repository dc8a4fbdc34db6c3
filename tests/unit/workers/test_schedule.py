"""When jobs run: after their pause, at once while there is more, and sooner when woken.

Seen to fail when what had woken a job was forgotten after it ran instead of before: an event that
was committed while the relay was reading then waited for the next look.
"""

import asyncio
from datetime import timedelta

from gpucloud_workers.schedule import Job, keep

LONG = timedelta(hours=1)


class TestKeep:
    async def test_runs_again_at_once_while_there_is_more(self) -> None:
        left = [3, 2, 1, 0]
        over = asyncio.Event()

        async def run() -> int:
            done = left.pop(0)
            if not left:
                over.set()
            return done

        await until(over, Job("job", LONG, run))

        assert left == []

    async def test_is_woken_also_by_what_came_while_it_ran(self) -> None:
        woken, over = asyncio.Event(), asyncio.Event()
        times = 0

        async def run() -> int:
            nonlocal times
            times += 1
            if times == 1:
                woken.set()
            else:
                over.set()
            return 0

        await until(over, Job("job", LONG, run, woken=woken))

        assert times == 2

    async def test_outlives_a_failure(self) -> None:
        over = asyncio.Event()
        fails = True

        async def run() -> int:
            nonlocal fails
            if fails:
                fails = False
                raise ValueError("on purpose")
            over.set()
            return 0

        await until(over, Job("job", timedelta(0), run))


async def until(over: asyncio.Event, job: Job) -> None:
    keeping = asyncio.create_task(keep(job))
    async with asyncio.timeout(10):
        await over.wait()
    keeping.cancel()
    await asyncio.wait({keeping})
