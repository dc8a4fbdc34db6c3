"""Changing a password: who gets in afterwards, and who does not.

Seen to fail when other sessions were left alive, when the present password was not asked for, and
when a change made meanwhile was overwritten.
"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access_builders import HOME, PASSWORD, AccessWorld
from gpucloud_core.access.credentials import prepare_password
from gpucloud_core.access.model import Actor, SessionKind
from gpucloud_core.access.password import CHANGED, ChangePassword, check_change
from gpucloud_core.access.sessions import ResolveActor, Unauthenticated
from gpucloud_core.access.sign_in import InvalidCredentials, SignedIn, TooManyAttempts
from gpucloud_core.kernel.errors import Conflict, ValidationFailed
from gpucloud_core.kernel.unit import Scope

API = SessionKind.API
NEW = "another long password"
PLATFORM = Scope.platform()
words = st.sampled_from(["", "short", "password", "ada", PASSWORD, NEW, "aaaaaaaaa"]) | st.text()


@pytest.fixture
def world() -> AccessWorld:
    return AccessWorld()


def change_in(world: AccessWorld) -> ChangePassword:
    return ChangePassword(
        transactions=world.transactions, hasher=world.hasher, limiter=world.limiter
    )


async def resolved(world: AccessWorld, signed_in: SignedIn) -> Actor:
    resolve = ResolveActor(transactions=world.transactions)
    return await resolve(token=signed_in.tokens.access_token, kind=API, client=HOME)


async def opened(world: AccessWorld, password: str) -> SignedIn:
    return await world.sign_in(username="ada", password=password, kind=API, client=HOME)


class TestCheckChange:
    @given(current=words, new=words)
    def test_never_takes_the_present_one_nor_one_that_will_not_do(
        self, current: str, new: str
    ) -> None:
        fault = check_change(current, new, username="ada")

        if fault is None:
            assert prepare_password(new) != prepare_password(current)
            assert 8 <= len(prepare_password(new)) <= 128
        else:
            assert fault.field == "/new_password"


class TestChangePassword:
    async def test_lets_in_with_the_new_one_alone(self, world: AccessWorld) -> None:
        actor = await world.actor()

        await change_in(world)(actor=actor, current=PASSWORD, new=NEW)

        assert await opened(world, NEW)
        with pytest.raises(InvalidCredentials):
            await opened(world, PASSWORD)

    async def test_ends_every_session_but_the_one_that_asks(self, world: AccessWorld) -> None:
        mine = await world.signed_up()
        others = [await opened(world, PASSWORD) for _ in range(3)]
        actor = await resolved(world, mine)

        ended = await change_in(world)(actor=actor, current=PASSWORD, new=NEW)

        assert ended == 3
        assert (await resolved(world, mine)).user_id == actor.user_id
        for other in others:
            with pytest.raises(Unauthenticated):
                await resolved(world, other)

    async def test_leaves_others_people_alone(self, world: AccessWorld) -> None:
        actor = await world.actor()
        grace = await world.signed_up("grace")

        assert await change_in(world)(actor=actor, current=PASSWORD, new=NEW) == 0
        assert await resolved(world, grace)

    async def test_asks_for_the_present_one_and_notes_a_wrong_one(self, world: AccessWorld) -> None:
        actor = await world.actor()

        with pytest.raises(ValidationFailed) as refused:
            await change_in(world)(actor=actor, current="not it at all", new=NEW)

        assert [fault.field for fault in refused.value.fields] == ["/current_password"]
        (row,) = await world.audited(CHANGED)
        assert (row.result, row.user_id) == ("denied", actor.user_id)
        assert await opened(world, PASSWORD)

    async def test_is_limited_for_each_person(self, world: AccessWorld) -> None:
        actor = await world.actor()
        change = change_in(world)
        for _ in range(10):
            with pytest.raises(ValidationFailed):
                await change(actor=actor, current="not it at all", new=NEW)

        with pytest.raises(TooManyAttempts):
            await change(actor=actor, current=PASSWORD, new=NEW)

    async def test_gives_way_to_a_change_made_meanwhile(self, world: AccessWorld) -> None:
        actor = await world.actor()
        change = change_in(world)

        class Meanwhile:
            """Hashes, and lets another change come first."""

            async def hash(self, password: str) -> str:
                async with world.transactions.begin(PLATFORM) as unit:
                    user = await unit.users.lock(actor.user_id or "")
                    assert user is not None
                    await unit.users.put(replace(user, password_hash="changed"))
                return await world.hasher.hash(password)

            async def verify(self, encoded: str | None, password: str) -> bool:
                return await world.hasher.verify(encoded, password)

        with pytest.raises(Conflict):
            await replace(change, hasher=Meanwhile())(actor=actor, current=PASSWORD, new=NEW)

        async with world.transactions.begin(PLATFORM) as unit:
            user = await unit.users.get(actor.user_id or "")
        assert user is not None
        assert user.password_hash == "changed"

    async def test_is_audited_and_told_without_a_secret(self, world: AccessWorld) -> None:
        actor = await world.actor()

        await change_in(world)(actor=actor, current=PASSWORD, new=NEW)

        (row,) = await world.audited(CHANGED)
        assert row.result == "ok"
        (event,) = [
            one.event for one in world.transactions.database.outbox if one.event.kind == CHANGED
        ]
        assert event.subject == actor.user_id
        for secret in (PASSWORD, NEW):
            assert secret not in repr(row) + repr(event)
