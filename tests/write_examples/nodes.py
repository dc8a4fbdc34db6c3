"""Operators on nodes."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from gpucloud_core.nodes.systems import hgx_h200
from operator_world import HOST_KEY, NEW_HOST, PRIVATE_KEY
from write_examples.world import API, Call, Example, World

NODES: Final = "/admin/nodes"
WHY: Final = {"reason": "a test"}
NEW: Final[Mapping[str, Any]] = {
    "name": "hgx-h200-09",
    "region": "eu-fra-1",
    "host": NEW_HOST,
    "username": "gpucloud",
    "host_key": HOST_KEY,
    "private_key": PRIVATE_KEY,
    "shared_kernel": True,
}


async def _add(world: World) -> Call:
    world.cloud.driver.plug(NEW_HOST, hgx_h200(seed="new"))
    return Call(NODES, NEW)


async def _added(world: World) -> str:
    call = await _add(world)
    answer = await world.client.post(API + call.path, json=call.body)
    await world.cloud.work()
    return f"{NODES}/{answer.json()['id']}"


async def _discovered(world: World) -> str:
    node = await _added(world)
    await _did(world, f"{node}/discover")
    return node


async def _did(world: World, path: str, body: Mapping[str, Any] | None = None) -> None:
    answer = await world.client.post(API + path, json=body)
    assert answer.status_code < 300, answer.text
    await world.cloud.work()


async def _verb(world: World, *, verb: str, after: str = "") -> Call:
    """Call a verb on an empty node in service, after other verbs."""
    node = f"{NODES}/{await world.only_node()}"
    for earlier in after.split():
        await _did(world, f"{node}/{earlier}", WHY)
    return Call(f"{node}/{verb}", WHY)


async def _approve(world: World) -> Call:
    return Call(f"{await _discovered(world)}/slots/approve", {})


async def _accept(world: World) -> Call:
    """Accept that a node has other GPUs than before."""
    world.cloud.driver.plug("node-1", hgx_h200(seed="other"))
    node = f"{NODES}/{await world.only_node()}"
    await _did(world, f"{node}/discover")
    return Call(f"{node}/accept")


async def _disable(world: World) -> Call:
    return Call(f"{NODES}/{await world.only_node()}/slots/disable", {"slots": [0]})


async def _enable(world: World) -> Call:
    call = await _disable(world)
    await _did(world, call.path, call.body)
    return Call(call.path.replace("disable", "enable"), call.body)


async def _mode(world: World) -> Call:
    node = f"{NODES}/{await world.only_node()}"
    await _did(world, f"{node}/drain", WHY)
    return Call(f"{node}/mode", {"mode": "vm", **WHY})


async def _place(world: World) -> Call:
    place = {"kind": "leaf_spine", "fabric": "fra-1", "pod": "pod-2", "group": "leaf-7"}
    return Call(f"{NODES}/{await world.only_node()}/place", {"place": place})


async def _discover(world: World) -> Call:
    return Call(f"{NODES}/{await world.only_node()}/discover")


async def _probe(world: World) -> Call:
    return Call(f"{NODES}/{await world.only_node()}/probe")


async def _delete(world: World) -> Call:
    return Call(f"{await _added(world)}?reason=old")


EXAMPLES: Final[Mapping[str, Example]] = {
    "addNode": _add,
    "approveSlots": _approve,
    "acceptFindings": _accept,
    "disableSlots": _disable,
    "enableSlots": _enable,
    "changeNodeMode": _mode,
    "placeNode": _place,
    "discoverNode": _discover,
    "probeNode": _probe,
    "deleteNode": _delete,
    "drainNode": partial(_verb, verb="drain"),
    "undrainNode": partial(_verb, verb="undrain", after="drain"),
    "takeNodeOffline": partial(_verb, verb="offline"),
    "bringNodeBack": partial(_verb, verb="online", after="offline"),
    "quarantineNode": partial(_verb, verb="quarantine"),
    "clearNode": partial(_verb, verb="clear", after="quarantine"),
    "retireNode": partial(_verb, verb="retire", after="drain"),
    "enrollNodeAgain": partial(_verb, verb="enroll", after="drain retire"),
}
