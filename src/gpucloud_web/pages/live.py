"""The stream that tells a browser which topics changed, so that its pages look again.

One per browser: tabs share it. A poll opens a short unit of its own and gives it back, so that a
thousand open streams hold no connection between polls. A lost stream loses nothing: pages catch
up by looking.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final

from dishka.integrations.litestar import FromDishka
from litestar import get
from litestar.di import NamedDependency
from litestar.response import ServerSentEvent, ServerSentEventMessage

from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.pulse import ReadPulse, Topic
from gpucloud_core.kernel.unit import Transactions

POLL_SECONDS: Final = 1.0
HEARTBEAT_POLLS: Final = 15
CAPACITY_POLLS: Final = 10
FLEET_POLLS: Final = 5
CHANGED: Final = "changed"
POLLS_MAX: Final = 1800
"""A stream ends by itself after half an hour; the browser opens the next one."""


@get("/live", include_in_schema=False, media_type="text/event-stream")
async def live(
    actor: NamedDependency[Actor],
    transactions: FromDishka[Transactions[AllocationUnit]],
) -> ServerSentEvent:
    """Stream the topics of the tenant's changes."""
    return ServerSentEvent(_follow(actor, ReadPulse(transactions=transactions)))


async def _follow(actor: Actor, read_pulse: ReadPulse) -> AsyncIterator[ServerSentEventMessage]:
    seen: Mapping[Topic, str] = await read_pulse(actor=actor)
    yield ServerSentEventMessage(comment="here")
    for poll in range(1, POLLS_MAX + 1):
        await asyncio.sleep(POLL_SECONDS)
        marks = await read_pulse(actor=actor)
        changed = [topic for topic, mark in marks.items() if mark != seen.get(topic)]
        if poll % CAPACITY_POLLS == 0:
            changed.append(Topic.CAPACITY)  # other tenants move it: nothing of ours tells
        if poll % FLEET_POLLS == 0:
            changed.append(Topic.FLEET)  # operators' pages look at every tenant's
        seen = marks
        if changed:
            yield ServerSentEventMessage(data=" ".join(changed), event=CHANGED)
        elif poll % HEARTBEAT_POLLS == 0:
            yield ServerSentEventMessage(comment="still here")
