"""Argon2id as it is really run: what it makes, whom it tells apart, and how long it takes."""

import asyncio
import time
from statistics import median

import pytest

from contracts.password_hasher import PASSWORD, PasswordHasherContract
from gpucloud_adapters.argon2 import Argon2PasswordHasher
from gpucloud_core.access.ports import PasswordHasher


@pytest.fixture(scope="module")
def hasher() -> Argon2PasswordHasher:
    return Argon2PasswordHasher()


class TestArgon2KeepsTheContract(PasswordHasherContract):
    @pytest.fixture
    def hasher(self) -> PasswordHasher:
        return Argon2PasswordHasher()


class TestArgon2PasswordHasher:
    async def test_makes_argon2id_hashes(self, hasher: Argon2PasswordHasher) -> None:
        encoded = await hasher.hash(PASSWORD)

        assert encoded.startswith("$argon2id$v=19$m=19456,t=2,p=1$")

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
