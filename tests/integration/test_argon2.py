"""Argon2id as it is really run: what it makes, whom it tells apart, and how long it takes."""

import asyncio
import time
from statistics import median

import pytest

from gpucloud_adapters.argon2 import Argon2PasswordHasher

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def hasher() -> Argon2PasswordHasher:
    return Argon2PasswordHasher()


class TestArgon2PasswordHasher:
    async def test_makes_argon2id_hashes_with_a_fresh_salt(
        self, hasher: Argon2PasswordHasher
    ) -> None:
        one, other = await hasher.hash(PASSWORD), await hasher.hash(PASSWORD)

        assert one.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert one != other

    async def test_tells_the_right_password_from_any_other(
        self, hasher: Argon2PasswordHasher
    ) -> None:
        encoded = await hasher.hash(PASSWORD)

        assert await hasher.verify(encoded, PASSWORD)
        assert not await hasher.verify(encoded, PASSWORD + " ")
        assert not await hasher.verify(encoded, PASSWORD[:-1])
        assert not await hasher.verify(None, "nobody's password")
        assert not await hasher.verify("scrypt$2$salt$00", PASSWORD)

    async def test_looks_at_every_character(self, hasher: Argon2PasswordHasher) -> None:
        encoded = await hasher.hash("é" * 128)

        assert not await hasher.verify(encoded, "é" * 127 + "e")

    async def test_takes_as_long_for_nobody_as_for_somebody(
        self, hasher: Argon2PasswordHasher
    ) -> None:
        encoded = await hasher.hash(PASSWORD)
        spent: dict[str | None, list[float]] = {encoded: [], None: []}
        for _ in range(15):
            for stored, seconds in spent.items():  # in turns, so that a busy machine hits both
                begun = time.perf_counter()
                await hasher.verify(stored, "wrong password")
                seconds.append(time.perf_counter() - begun)

        somebody, nobody = median(spent[encoded]), median(spent[None])
        assert nobody == pytest.approx(somebody, rel=0.5)

    async def test_leaves_the_event_loop_to_others(self, hasher: Argon2PasswordHasher) -> None:
        turns = 0

        async def take_turns() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        other = asyncio.create_task(take_turns())
        await asyncio.gather(*(hasher.hash(PASSWORD) for _ in range(8)))
        other.cancel()

        assert turns > 20
