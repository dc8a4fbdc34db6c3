"""The caller's public SSH keys."""

from datetime import datetime

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import Controller, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from gpucloud_core.access.model import Actor, SshKey
from gpucloud_core.access.ssh_keys import AddSshKey, DeleteSshKey, ListSshKeys
from gpucloud_core.kernel.ids import SshKeyId, parse_id
from gpucloud_web.api.lists import Cursor, Limit, Listing, list_query, listing


class AddKeyBody(msgspec.Struct, forbid_unknown_fields=True):
    """One line of an OpenSSH public key file. Private keys are refused."""

    name: str
    public_key: str


class SshKeyBody(msgspec.Struct):
    id: str
    name: str
    type: str
    fingerprint: str
    comment: str
    created_at: datetime

    @classmethod
    def of(cls, key: SshKey) -> "SshKeyBody":
        return cls(key.id, key.name, key.type, key.fingerprint, key.comment, key.created_at)


class SshKeys(Controller):
    path = "/ssh-keys"
    tags = ["ssh-keys"]

    @get(operation_id="listSshKeys")
    async def index(
        self,
        actor: NamedDependency[Actor],
        list_ssh_keys: FromDishka[ListSshKeys],
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Listing[SshKeyBody]:
        """List the caller's keys, newest first."""
        page = await list_ssh_keys(actor=actor, query=list_query(limit=limit, cursor=cursor))
        return listing(page, SshKeyBody.of)

    @post(operation_id="addSshKey", status_code=201)
    async def add(
        self,
        data: JSONBody[AddKeyBody],
        actor: NamedDependency[Actor],
        add_ssh_key: FromDishka[AddSshKey],
    ) -> SshKeyBody:
        """Add a public key."""
        key = await add_ssh_key(actor=actor, name=data.name, public_key=data.public_key)
        return SshKeyBody.of(key)

    @delete("/{key_id:str}", operation_id="deleteSshKey", status_code=204)
    async def remove(
        self,
        key_id: FromPath[str],
        actor: NamedDependency[Actor],
        delete_ssh_key: FromDishka[DeleteSshKey],
    ) -> None:
        """Delete a key; machines that run keep it until their keys are edited."""
        await delete_ssh_key(actor=actor, key_id=SshKeyId(parse_id("key", key_id)))
