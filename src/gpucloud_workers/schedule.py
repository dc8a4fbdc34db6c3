"""What runs how often, as data. Jobs read due rows, so any of them is safe anywhere, any time.

A job may be woken before its pause is over; whatever wakes it may also be lost.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import structlog

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """A name, the pause between two runs, and what to run; it returns how much it did."""

    name: str
    every: timedelta
    run: Callable[[], Awaitable[int]]
    woken: asyncio.Event | None = None


async def keep(job: Job) -> None:
    """Run ``job`` for ever. One failure never ends it: the rows are still due."""
    woken = job.woken or asyncio.Event()
    pause = job.every.total_seconds()
    while True:
        done = 0
        woken.clear()  # what wakes it from here on is not in what it reads now
        try:
            done = await job.run()
        except asyncio.CancelledError:
            raise
        except Exception:  # one of the outermost loops: whatever it was, the rows stay due
            log.exception("job.failed", job=job.name)
        if done:
            await asyncio.sleep(0)
            continue
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await woken.wait()


async def keep_all(jobs: Sequence[Job]) -> None:
    """Run all jobs until cancelled."""
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(keep(job), name=job.name)
