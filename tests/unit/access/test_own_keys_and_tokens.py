"""A user's own keys, and the one-time tokens that open terminals."""

from dataclasses import replace
from datetime import timedelta

import pytest

from access_builders import AccessWorld
from gpucloud_core.access.authorize import Forbidden
from gpucloud_core.access.model import Role
from gpucloud_core.access.ssh_keys import (
    AddSshKey,
    DeleteSshKey,
    ListSshKeys,
    SshKeyDuplicate,
    SshKeyInvalid,
)
from gpucloud_core.access.terminal_tokens import (
    MintTerminalToken,
    RedeemTerminalToken,
    TerminalTokenInvalid,
)
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import AllocationId, SshKeyId

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
ALLOCATION = AllocationId("alc_00000000000000000000000001")
ORIGIN = "https://cloud.example"


@pytest.fixture
def world() -> AccessWorld:
    return AccessWorld()


@pytest.fixture
def add(world: AccessWorld) -> AddSshKey:
    return AddSshKey(transactions=world.transactions, ids=world.ids)


class TestSshKeys:
    async def test_are_kept_in_canonical_form(self, world: AccessWorld, add: AddSshKey) -> None:
        actor = await world.actor()

        key = await add(actor=actor, name="  my\nlaptop ", public_key=f"  {KEY}  ada@home\n")

        assert (key.name, key.type, key.comment) == ("my laptop", "ssh-ed25519", "ada@home")
        assert key.public_key == KEY
        page = await ListSshKeys(transactions=world.transactions)(actor=actor)
        assert page.items == (key,)

    @pytest.mark.parametrize(
        ("text", "name"), [(f"{KEY} ada@home", "ada@home"), (KEY, "ssh-ed25519")]
    )
    async def test_without_a_name_take_the_comment_or_the_type(
        self, world: AccessWorld, add: AddSshKey, text: str, name: str
    ) -> None:
        key = await add(actor=await world.actor(), name=" ", public_key=text)

        assert key.name == name

    async def test_are_refused_twice_but_not_to_another_user(
        self, world: AccessWorld, add: AddSshKey
    ) -> None:
        ada, bob = await world.actor("ada"), await world.actor("bob")
        await add(actor=ada, name="laptop", public_key=KEY)

        with pytest.raises(SshKeyDuplicate, match="laptop"):
            await add(actor=ada, name="again", public_key=f"{KEY} other comment")

        assert await add(actor=bob, name="laptop", public_key=KEY)

    async def test_can_be_added_again_once_deleted(
        self, world: AccessWorld, add: AddSshKey
    ) -> None:
        actor = await world.actor()
        delete = DeleteSshKey(transactions=world.transactions)
        key = await add(actor=actor, name="laptop", public_key=KEY)

        await delete(actor=actor, key_id=key.id)

        with pytest.raises(NotFound):
            await delete(actor=actor, key_id=key.id)
        assert (await add(actor=actor, name="laptop", public_key=KEY)).id != key.id

    async def test_of_others_are_not_found(self, world: AccessWorld, add: AddSshKey) -> None:
        ada, bob = await world.actor("ada"), await world.actor("bob")
        key = await add(actor=ada, name="laptop", public_key=KEY)
        delete = DeleteSshKey(transactions=world.transactions)

        for key_id in (key.id, SshKeyId("key_00000000000000000000000099")):
            with pytest.raises(NotFound):
                await delete(actor=bob, key_id=key_id)

        assert (await ListSshKeys(transactions=world.transactions)(actor=bob)).items == ()

    async def test_leave_nothing_behind_when_refused(
        self, world: AccessWorld, add: AddSshKey
    ) -> None:
        actor = await world.actor()

        with pytest.raises(SshKeyInvalid):
            await add(actor=actor, name="x", public_key="-----BEGIN OPENSSH PRIVATE KEY-----\nabc")

        assert (await ListSshKeys(transactions=world.transactions)(actor=actor)).items == ()
        assert await world.audited("ssh_key.add") == []


class TestTerminalTokens:
    async def mint(self, world: AccessWorld) -> str:
        actor = await world.actor()
        (project_id,) = actor.project_roles
        minted = await MintTerminalToken(transactions=world.transactions, secrets=world.secrets)(
            actor=actor, allocation_id=ALLOCATION, project_id=project_id, origin=ORIGIN
        )
        assert minted.token not in repr(minted)
        return minted.token

    @pytest.fixture
    def redeem(self, world: AccessWorld) -> RedeemTerminalToken:
        return RedeemTerminalToken(transactions=world.transactions)

    async def test_work_once(self, world: AccessWorld, redeem: RedeemTerminalToken) -> None:
        token = await self.mint(world)

        row = await redeem(token=token, allocation_id=ALLOCATION, origin=ORIGIN)

        assert row.subject == ALLOCATION
        with pytest.raises(TerminalTokenInvalid):
            await redeem(token=token, allocation_id=ALLOCATION, origin=ORIGIN)

    @pytest.mark.parametrize(
        ("allocation_id", "origin"),
        [
            (AllocationId("alc_00000000000000000000000002"), ORIGIN),
            (ALLOCATION, "https://cloud.example.evil"),
            (ALLOCATION, "null"),
            (ALLOCATION, ""),
        ],
    )
    async def test_are_spent_by_trying_them_elsewhere(
        self,
        world: AccessWorld,
        redeem: RedeemTerminalToken,
        allocation_id: AllocationId,
        origin: str,
    ) -> None:
        token = await self.mint(world)

        with pytest.raises(TerminalTokenInvalid):
            await redeem(token=token, allocation_id=allocation_id, origin=origin)
        with pytest.raises(TerminalTokenInvalid):
            await redeem(token=token, allocation_id=ALLOCATION, origin=ORIGIN)

    async def test_end_after_thirty_seconds(
        self, world: AccessWorld, redeem: RedeemTerminalToken
    ) -> None:
        token = await self.mint(world)
        world.clock.pass_(timedelta(seconds=30))

        with pytest.raises(TerminalTokenInvalid):
            await redeem(token=token, allocation_id=ALLOCATION, origin=ORIGIN)

    async def test_are_not_for_viewers(self, world: AccessWorld) -> None:
        actor = await world.actor()
        (project_id,) = actor.project_roles
        viewer = replace(actor, tenant_role=Role.MEMBER, project_roles={project_id: Role.VIEWER})

        with pytest.raises(Forbidden, match="member of the project"):
            await MintTerminalToken(transactions=world.transactions, secrets=world.secrets)(
                actor=viewer, allocation_id=ALLOCATION, project_id=project_id, origin=ORIGIN
            )
