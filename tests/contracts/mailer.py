"""What every mailer promises: what is taken arrives, and else it says which way it failed."""

from abc import ABC, abstractmethod
from email.message import EmailMessage

import pytest

from gpucloud_core.notices.mail import Mailer, MailRefused, MailUnavailable, Message

MESSAGE = Message(
    id="mal_1",
    to="zoe@example.com",
    subject="Low balance: 3 h left \N{EN DASH} Größer\nBcc: eve@example.com",
    text="It reaches zero at 20:06.\n.\nA dot alone, \N{ROCKET}, and a line of "
    + "x" * 1200
    + ".\n",
)


class MailerContract(ABC):
    @pytest.fixture
    @abstractmethod
    def mailer(self) -> Mailer: ...

    @abstractmethod
    async def arrived(self, mailer: Mailer) -> list[EmailMessage]:
        """Return what arrived, read behind the port's back."""

    @abstractmethod
    async def take_away(self, mailer: Mailer) -> None:
        """Let whoever takes messages give no answer."""

    async def test_brings_the_message_whole(self, mailer: Mailer) -> None:
        await mailer.send(MESSAGE)

        (mail,) = await self.arrived(mailer)
        assert mail["To"] == "zoe@example.com"
        assert mail["Subject"] == "Low balance: 3 h left \N{EN DASH} Größer Bcc: eve@example.com"
        assert mail["Bcc"] is None
        assert mail.get_content().replace("\r\n", "\n") == MESSAGE.text
        assert mail["Auto-Submitted"] == "auto-generated"

    async def test_lets_one_that_comes_twice_be_known_again(self, mailer: Mailer) -> None:
        await mailer.send(MESSAGE)
        await mailer.send(MESSAGE)

        assert {mail["Message-ID"] for mail in await self.arrived(mailer)} == {
            "<mal_1@gpus.example>"
        }

    async def test_says_that_it_is_not_known_when_nobody_answers(self, mailer: Mailer) -> None:
        await self.take_away(mailer)

        with pytest.raises(MailUnavailable):
            await mailer.send(MESSAGE)
        assert await self.arrived(mailer) == []


class RefusingMailerContract(MailerContract):
    """Of mailers whose other end may say no."""

    @abstractmethod
    async def refuse(self, mailer: Mailer, *, for_good: bool) -> None:
        """Let the address of ``MESSAGE`` be refused."""

    async def test_says_which_refusals_are_final(self, mailer: Mailer) -> None:
        await self.refuse(mailer, for_good=True)
        with pytest.raises(MailRefused):
            await mailer.send(MESSAGE)

        await self.refuse(mailer, for_good=False)
        with pytest.raises(MailUnavailable):
            await mailer.send(MESSAGE)
        assert await self.arrived(mailer) == []
