"""Launch, operate and end allocations; follow their tasks."""

from collections.abc import Mapping
from typing import Final

from write_examples.world import OTHER_KEY, Call, Example, World


async def _launch(world: World) -> Call:
    body = {"sku": "h200-sxm", "gpu_count": 2, "ssh_key_ids": [world.key_id]}
    return Call("/allocations", body)


async def _release(world: World) -> Call:
    return Call(f"/allocations/{await world.running()}/release")


async def _cancel(world: World) -> Call:
    return Call(f"/allocations/{await world.launch(1)}/cancel")


async def _restart(world: World) -> Call:
    return Call(f"/allocations/{await world.running()}/restart")


async def _edit_keys(world: World) -> Call:
    path = f"/allocations/{await world.running()}/ssh-keys"
    return Call(path, {"ssh_key_ids": [(await world.cloud.add_key(world.actor, OTHER_KEY)).id]})


async def _terminal_token(world: World) -> Call:
    return Call(f"/allocations/{await world.running()}/terminal-token")


async def _force_release(world: World) -> Call:
    path = f"/admin/allocations/{await world.running()}/force-release"
    return Call(path, {"reason": "abuse"})


async def _force_cleanup(world: World) -> Call:
    path = f"/admin/allocations/{await world.fenced()}/force-cleanup"
    return Call(path, {"reason": "looked", "runtime_verified_absent": True})


async def _cancel_task(world: World) -> Call:
    accepted = await world.cloud.launch(world.actor, world.request(1, count=2))
    return Call(f"/tasks/{accepted.task_id}/cancel")


async def _retry(world: World) -> Call:
    return Call(f"/tasks/{await world.failed_task()}/retry")


async def _set_timer(world: World) -> Call:
    return Call(f"/allocations/{await world.running()}/timer", {"ttl_seconds": 3600})


EXAMPLES: Final[Mapping[str, Example]] = {
    "launchAllocations": _launch,
    "releaseAllocation": _release,
    "cancelAllocation": _cancel,
    "restartAllocation": _restart,
    "setTimer": _set_timer,
    "editAllocationKeys": _edit_keys,
    "mintTerminalToken": _terminal_token,
    "forceRelease": _force_release,
    "forceCleanup": _force_cleanup,
    "cancelTask": _cancel_task,
    "retryFailed": _retry,
}
