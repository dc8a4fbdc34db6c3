"""The standard library's hasher keeps the contract; cheaply here, as a test has no secrets."""

import pytest

from access_builders import CountedSecrets
from contracts.password_hasher import PasswordHasherContract
from gpucloud_adapters.memory.passwords import ScryptPasswordHasher
from gpucloud_core.access.ports import PasswordHasher


class TestScryptPasswordHasher(PasswordHasherContract):
    @pytest.fixture
    def hasher(self) -> PasswordHasher:
        return ScryptPasswordHasher(CountedSecrets(), cost=2)
