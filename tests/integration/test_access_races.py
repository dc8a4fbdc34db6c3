"""What only a real database can show: the same thing asked for many times at once.

Also measures, on the real hasher, that nobody can tell an unknown name from a wrong password.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from statistics import median
from typing import TypeVar

import pytest

from access_builders import HOME, PASSWORD, AccessWorld
from gpucloud_adapters.argon2 import Argon2PasswordHasher
from gpucloud_adapters.postgres.engine import create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_adapters.system import SystemIds, SystemSecrets
from gpucloud_core.access.model import SessionKind
from gpucloud_core.access.session_life import Client
from gpucloud_core.access.sessions import Refresh, ResolveActor, Unauthenticated
from gpucloud_core.access.sign_in import InvalidCredentials, SignedIn, SignIn, SignUp, UsernameTaken
from gpucloud_core.access.ssh_keys import AddSshKey, SshKeyDuplicate
from gpucloud_core.access.terminal_tokens import (
    MintTerminalToken,
    RedeemTerminalToken,
    TerminalTokenInvalid,
)
from gpucloud_core.kernel.ids import AllocationId
from gpucloud_core.kernel.unit import Scope

T = TypeVar("T")

AT_ONCE = 8
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
ALLOCATION = AllocationId("alc_00000000000000000000000001")


@pytest.fixture
async def transactions(database_url: str) -> AsyncIterator[PostgresTransactions]:
    engine = create_engine(database_url)
    yield PostgresTransactions(engine)
    await engine.dispose()


@pytest.fixture
def sign_up(transactions: PostgresTransactions) -> SignUp:
    world = AccessWorld()
    return SignUp(
        transactions=transactions,
        hasher=world.hasher,
        limiter=world.limiter,
        secrets=SystemSecrets(),
        ids=SystemIds(),
    )


async def signed_up(sign_up: SignUp, username: str = "ada") -> SignedIn:
    return await sign_up(username=username, password=PASSWORD, kind=SessionKind.API, client=HOME)


async def outcomes(asked: list[Awaitable[T]]) -> list[T | BaseException]:
    return await asyncio.gather(*asked, return_exceptions=True)


class TestAtOnce:
    async def test_one_of_many_gets_a_username(
        self, sign_up: SignUp, transactions: PostgresTransactions
    ) -> None:
        answers = await outcomes([signed_up(sign_up, "Ada") for _ in range(AT_ONCE)])

        refused = [answer for answer in answers if isinstance(answer, UsernameTaken)]
        assert len(refused) == AT_ONCE - 1
        async with transactions.begin(Scope.platform()) as unit:
            assert await unit.tenants.count() == 1

    async def test_tabs_that_refresh_get_the_same_tokens(
        self, sign_up: SignUp, transactions: PostgresTransactions
    ) -> None:
        token = str((await signed_up(sign_up)).tokens.refresh_token)
        refresh = Refresh(transactions=transactions, secrets=SystemSecrets())

        answers = await asyncio.gather(
            *(refresh(refresh_token=token, client=HOME) for _ in range(AT_ONCE))
        )

        assert len(set(answers)) == 1

    async def test_requests_and_a_refresh_do_not_undo_each_other(
        self, sign_up: SignUp, transactions: PostgresTransactions
    ) -> None:
        signed_in = await signed_up(sign_up)
        async with transactions.begin(Scope.platform()) as unit:  # seen long ago: will be written
            long_ago = signed_in.session.last_seen_at - 2 * (
                signed_in.session.access_expires_at - signed_in.session.created_at
            )
            await unit.sessions.put(replace(signed_in.session, last_seen_at=long_ago))
        resolve = ResolveActor(transactions=transactions)
        refresh = Refresh(transactions=transactions, secrets=SystemSecrets())

        _, tokens = await asyncio.gather(
            outcomes(
                [
                    resolve(token=signed_in.tokens.access_token, kind=SessionKind.API, client=HOME)
                    for _ in range(AT_ONCE)
                ]
            ),
            refresh(refresh_token=str(signed_in.tokens.refresh_token), client=HOME),
        )

        assert await resolve(token=tokens.access_token, kind=SessionKind.API, client=HOME)
        with pytest.raises(Unauthenticated):
            await resolve(token=signed_in.tokens.access_token, kind=SessionKind.API, client=HOME)

    async def test_one_of_many_adds_a_key(
        self, sign_up: SignUp, transactions: PostgresTransactions
    ) -> None:
        signed_in = await signed_up(sign_up)
        actor = await ResolveActor(transactions=transactions)(
            token=signed_in.tokens.access_token, kind=SessionKind.API, client=HOME
        )
        add = AddSshKey(transactions=transactions, ids=SystemIds())

        answers = await outcomes(
            [add(actor=actor, name=f"key {n}", public_key=KEY) for n in range(AT_ONCE)]
        )

        refused = [answer for answer in answers if isinstance(answer, SshKeyDuplicate)]
        assert len(refused) == AT_ONCE - 1

    async def test_one_of_many_opens_the_terminal(
        self, sign_up: SignUp, transactions: PostgresTransactions
    ) -> None:
        signed_in = await signed_up(sign_up)
        actor = await ResolveActor(transactions=transactions)(
            token=signed_in.tokens.access_token, kind=SessionKind.API, client=HOME
        )
        (project_id,) = actor.project_roles
        minted = await MintTerminalToken(transactions=transactions, secrets=SystemSecrets())(
            actor=actor, allocation_id=ALLOCATION, project_id=project_id, origin=""
        )
        redeem = RedeemTerminalToken(transactions=transactions)

        answers = await outcomes(
            [
                redeem(token=minted.token, allocation_id=ALLOCATION, origin="")
                for _ in range(AT_ONCE)
            ]
        )

        refused = [answer for answer in answers if isinstance(answer, TerminalTokenInvalid)]
        assert len(refused) == AT_ONCE - 1


class TestSignIn:
    async def test_takes_as_long_for_an_unknown_name_as_for_a_wrong_password(
        self, sign_up: SignUp, transactions: PostgresTransactions
    ) -> None:
        hasher = Argon2PasswordHasher()
        await signed_up(replace(sign_up, hasher=hasher))
        sign_in = SignIn(
            transactions=transactions,
            hasher=hasher,
            limiter=AccessWorld().limiter,
            secrets=SystemSecrets(),
        )
        spent: dict[str, list[float]] = {"ada": [], "nobody": []}
        for attempt in range(20):
            for username, seconds in spent.items():  # in turns, so that a busy machine hits both
                begun = time.perf_counter()
                with pytest.raises(InvalidCredentials):
                    await sign_in(
                        username=username,
                        password="wrong password",
                        kind=SessionKind.API,
                        client=Client(ip=f"192.0.2.{attempt}"),
                    )
                seconds.append(time.perf_counter() - begun)

        assert median(spent["nobody"]) == pytest.approx(median(spent["ada"]), rel=0.3)
