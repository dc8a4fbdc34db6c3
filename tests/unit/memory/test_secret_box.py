"""The memory secret box keeps the contract, and every secret can change its key."""

import pytest

from contracts.secret_box import PLACE, SECRET, SecretBoxContract
from gpucloud_adapters.credentials import BoxedCredentials
from gpucloud_adapters.memory.secret_box import MemorySecretBox
from gpucloud_adapters.memory.unit import MemoryTransactions
from gpucloud_adapters.stored.kinds import SECRETS
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.secret_box import RewrapSecrets, SecretBox
from row_builders import FixedClock


class TestMemorySecretBox(SecretBoxContract):
    @pytest.fixture
    def box(self) -> SecretBox:
        return MemorySecretBox()

    def rotate(self, box: SecretBox) -> None:
        assert isinstance(box, MemorySecretBox)
        box.rotate()


class TestBoxedCredentials:
    async def test_keep_what_opens_after_a_rotation(self) -> None:
        transactions, box = MemoryTransactions(FixedClock()), MemorySecretBox()
        credentials = BoxedCredentials(transactions=transactions, box=box)
        rewrap = RewrapSecrets(transactions=transactions, box=box)

        await credentials.keep("node-1", "first")
        await credentials.keep("node-1", SECRET)
        await credentials.keep("node-2", "other")
        box.rotate()

        assert await rewrap() == 2
        assert await rewrap() == 0
        assert await credentials("node-1") == SECRET
        assert {row.key_id for row in transactions.database.rows(SECRETS)} == {"2"}

    @pytest.mark.parametrize("name", ["none", "../etc/passwd", "", "A"])
    async def test_know_no_other_name(self, name: str) -> None:
        credentials = BoxedCredentials(
            transactions=MemoryTransactions(FixedClock()), box=MemorySecretBox()
        )

        with pytest.raises(NotFound):
            await credentials(name)


class TestSecretPlace:
    def test_is_named_by_all_its_parts(self) -> None:
        assert PLACE.id == "ten_1/credential/a/private_key"
