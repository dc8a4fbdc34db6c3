"""Keys and sessions."""

from collections.abc import Mapping
from typing import Final

from write_examples.world import API, OTHER_KEY, PASSWORD, Call, Example, World


async def _add_key(_: World) -> Call:
    return Call("/ssh-keys", {"name": "desk", "public_key": OTHER_KEY})


async def _delete_key(world: World) -> Call:
    return Call(f"/ssh-keys/{world.key_id}")


async def _save_view(_: World) -> Call:
    body = {"list": "workloads", "name": "Mine", "query": {"view": "active", "by": "me"}}
    return Call("/me/views", body)


async def _saved_view(world: World) -> str:
    call = await _save_view(world)
    answer = await world.client.post(API + call.path, json=call.body)
    return str(answer.json()["id"])


async def _change_view(world: World) -> Call:
    return Call(f"/me/views/{await _saved_view(world)}", {"name": "Ours"})


async def _delete_view(world: World) -> Call:
    return Call(f"/me/views/{await _saved_view(world)}")


async def _revoke_session(world: World) -> Call:
    body = {"username": "ada", "password": PASSWORD}
    client = world.client
    await client.post(f"{API}/auth/personal/login", json=body, headers={"Authorization": ""})
    sessions = (await client.get(f"{API}/me/sessions")).json()["items"]
    return Call(f"/me/sessions/{next(one['id'] for one in sessions if not one['current'])}")


EXAMPLES: Final[Mapping[str, Example]] = {
    "addSshKey": _add_key,
    "deleteSshKey": _delete_key,
    "revokeSession": _revoke_session,
    "saveView": _save_view,
    "changeView": _change_view,
    "deleteView": _delete_view,
}
