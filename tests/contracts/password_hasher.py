"""What every password hasher promises."""

from abc import ABC, abstractmethod

import pytest

from gpucloud_core.access.ports import PasswordHasher

PASSWORD = "correct horse battery"


class PasswordHasherContract(ABC):
    """Subclassed for each adapter."""

    @pytest.fixture
    @abstractmethod
    def hasher(self) -> PasswordHasher: ...

    async def test_salts_each_hash(self, hasher: PasswordHasher) -> None:
        one, other = await hasher.hash(PASSWORD), await hasher.hash(PASSWORD)

        assert one != other
        assert PASSWORD not in one
        assert await hasher.verify(one, PASSWORD)
        assert await hasher.verify(other, PASSWORD)

    @pytest.mark.parametrize("wrong", ["", PASSWORD[:-1], f"{PASSWORD} ", PASSWORD.upper()])
    async def test_tells_the_right_password_from_any_other(
        self, hasher: PasswordHasher, wrong: str
    ) -> None:
        assert not await hasher.verify(await hasher.hash(PASSWORD), wrong)

    async def test_looks_at_every_character(self, hasher: PasswordHasher) -> None:
        encoded = await hasher.hash("é" * 128)

        assert await hasher.verify(encoded, "é" * 128)
        assert not await hasher.verify(encoded, "é" * 127 + "e")

    @pytest.mark.parametrize("password", ["", PASSWORD, "nobody's password"])
    async def test_lets_nobody_in_without_a_hash(
        self, hasher: PasswordHasher, password: str
    ) -> None:
        assert not await hasher.verify(None, password)

    @pytest.mark.parametrize("encoded", ["", "x", "$argon2id$", "scrypt$2$salt$00", "$1$a$b"])
    async def test_lets_nobody_in_with_what_is_no_hash(
        self, hasher: PasswordHasher, encoded: str
    ) -> None:
        assert not await hasher.verify(encoded, PASSWORD)
