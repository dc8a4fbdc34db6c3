"""Inbox and attention."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from gpucloud_core.kernel.time import rfc3339
from write_examples.world import Call, Example, World


async def _read_all(world: World) -> Call:
    await world.notice()
    return Call("/me/inbox/read")


async def _read(world: World) -> Call:
    return Call(f"/me/inbox/{await world.notice()}/read")


async def _acknowledge(world: World) -> Call:
    path = f"/ops/attention/{await world.attention()}/acknowledge"
    return Call(path, {"reason": "on it"})


async def _snooze(world: World) -> Call:
    until = rfc3339(world.cloud.clock.now() + timedelta(hours=1))
    path = f"/ops/attention/{await world.attention()}/snooze"
    return Call(path, {"reason": "later", "until": until})


EXAMPLES: Final[Mapping[str, Example]] = {
    "markAllRead": _read_all,
    "markRead": _read,
    "acknowledgeAttention": _acknowledge,
    "snoozeAttention": _snooze,
}
