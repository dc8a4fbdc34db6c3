"""Wait for what is sold out."""

from collections.abc import Mapping
from typing import Final

from write_examples.world import API, Call, Example, World


async def _join(world: World) -> Call:
    body = {"sku": "h200-sxm", "gpu_count": 2, "ssh_key_ids": [world.key_id], "kind": "launch"}
    return Call("/waitlist", body)


async def _leave(world: World) -> Call:
    call = await _join(world)
    answer = await world.client.post(API + call.path, json=call.body)
    return Call(f"/waitlist/{answer.json()['id']}")


EXAMPLES: Final[Mapping[str, Example]] = {"joinWaitlist": _join, "leaveWaitlist": _leave}
