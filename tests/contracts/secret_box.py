"""What a secret box promises: what it sealed opens in its place, unchanged, and nowhere else.

Seen to fail when the place was left out of what is authenticated, and when another spelling of the
same bytes in base64 was read as well.
"""

import string
from abc import ABC, abstractmethod
from dataclasses import replace

import pytest

from gpucloud_core.kernel.ids import TenantId
from gpucloud_core.kernel.secret_box import SecretBox, SecretPlace, SecretUnreadable
from row_builders import NOW

PLACE = SecretPlace(tenant_id=TenantId("ten_1"), row="credential/a", field="private_key")
ELSEWHERE = [
    replace(PLACE, tenant_id=TenantId("ten_2")),
    replace(PLACE, tenant_id=None),
    replace(PLACE, row="credential/b"),
    replace(PLACE, field="password"),
]
_LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
_NEXT = dict(zip(_LETTERS, _LETTERS[1:] + _LETTERS[:1], strict=True))
SECRET = "-----BEGIN CANARY-----\nGröße\n"


class SecretBoxContract(ABC):
    @pytest.fixture
    @abstractmethod
    def box(self) -> SecretBox: ...

    @abstractmethod
    def rotate(self, box: SecretBox) -> None:
        """Make another master key the present one."""

    @pytest.mark.parametrize("secret", [SECRET, "", "x" * 10_000])
    async def test_opens_what_it_sealed(self, box: SecretBox, secret: str) -> None:
        sealed = await box.seal(PLACE, secret, NOW)

        assert await box.open(PLACE, sealed) == secret
        assert (sealed.id, sealed.created_at) == (PLACE.id, NOW)
        assert not secret or secret not in repr(sealed)

    async def test_seals_the_same_differently_each_time(self, box: SecretBox) -> None:
        one, two = [await box.seal(PLACE, SECRET, NOW) for _ in range(2)]

        assert one.ciphertext != two.ciphertext

    @pytest.mark.parametrize("other", ELSEWHERE)
    async def test_refuses_what_is_of_another_place(
        self, box: SecretBox, other: SecretPlace
    ) -> None:
        sealed = await box.seal(PLACE, SECRET, NOW)

        for moved in (sealed, replace(sealed, id=other.id)):
            with pytest.raises(SecretUnreadable):
                await box.open(other, moved)

    @pytest.mark.parametrize("field", ["wrapped_key", "nonce", "ciphertext"])
    async def test_refuses_parts_of_another_secret(self, box: SecretBox, field: str) -> None:
        sealed = await box.seal(PLACE, SECRET, NOW)
        other = await box.seal(ELSEWHERE[2], SECRET + "x", NOW)

        mixed = replace(sealed, **{field: getattr(other, field)})
        with pytest.raises(SecretUnreadable):
            await box.open(PLACE, mixed)

    @pytest.mark.parametrize("more", ["", "x", "xx"])  # every length of base64's last group
    async def test_refuses_what_was_changed_anywhere(self, box: SecretBox, more: str) -> None:
        sealed = await box.seal(PLACE, SECRET + more, NOW)
        letters = sealed.ciphertext.rstrip("=")
        for at, letter in enumerate(letters):
            other = _NEXT.get(letter, "A")
            text = letters[:at] + other + sealed.ciphertext[at + 1 :]

            with pytest.raises(SecretUnreadable):
                await box.open(PLACE, replace(sealed, ciphertext=text))

    async def test_refuses_a_master_key_it_does_not_know(self, box: SecretBox) -> None:
        sealed = replace(await box.seal(PLACE, SECRET, NOW), key_id="another")

        with pytest.raises(SecretUnreadable):
            await box.open(PLACE, sealed)
        with pytest.raises(SecretUnreadable):
            await box.rewrap(sealed)

    async def test_opens_the_old_and_rewraps_it_after_a_rotation(self, box: SecretBox) -> None:
        old = await box.seal(PLACE, SECRET, NOW)
        self.rotate(box)

        new = await box.rewrap(old)
        fresh = await box.seal(PLACE, SECRET, NOW)

        assert await box.open(PLACE, old) == SECRET
        assert await box.open(PLACE, new) == SECRET
        assert old.key_id != new.key_id == fresh.key_id
        assert (old.ciphertext, old.nonce) == (new.ciphertext, new.nonce)
        assert await box.rewrap(new) == new
        with pytest.raises(SecretUnreadable):
            await box.open(PLACE, replace(old, key_id=new.key_id))
