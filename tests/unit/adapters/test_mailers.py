"""The mailers that need no server, against the contract of all."""

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest

from contracts.mailer import MESSAGE, MailerContract
from gpucloud_adapters.mail.folder import FolderMailer
from gpucloud_adapters.mail.mime import mime_of
from gpucloud_adapters.memory.mails import MemoryMailer
from gpucloud_core.notices.mail import Mailer, MailRefused

SENDER = "gpus <no-reply@gpus.example>"


def parsed(data: bytes) -> EmailMessage:
    mail = message_from_bytes(data, policy=SMTP)
    assert isinstance(mail, EmailMessage)
    return mail


class TestMemoryMailer(MailerContract):
    @pytest.fixture
    def mailer(self) -> MemoryMailer:
        return MemoryMailer()

    async def arrived(self, mailer: Mailer) -> list[EmailMessage]:
        assert isinstance(mailer, MemoryMailer)
        return [parsed(mime_of(one, SENDER).as_bytes()) for one in mailer.sent.values()]

    async def take_away(self, mailer: Mailer) -> None:
        assert isinstance(mailer, MemoryMailer)
        mailer.away = True

    async def test_refuses_whom_it_is_told_to(self, mailer: MemoryMailer) -> None:
        mailer.refuses.add(MESSAGE.to)

        with pytest.raises(MailRefused):
            await mailer.send(MESSAGE)


class TestFolderMailer(MailerContract):
    @pytest.fixture
    def mailer(self, tmp_path: Path) -> FolderMailer:
        self.folder = tmp_path / "home" / "mail"
        return FolderMailer(self.folder, sender=SENDER)

    async def arrived(self, mailer: Mailer) -> list[EmailMessage]:
        return [parsed(file.read_bytes()) for file in self.folder.glob("*.eml")]

    async def take_away(self, mailer: Mailer) -> None:
        self.folder.parent.write_text("a file where the folder should be")

    async def test_lets_nobody_else_read_them(self, mailer: FolderMailer) -> None:
        await mailer.send(MESSAGE)

        (file,) = self.folder.iterdir()
        assert (file.stat().st_mode & 0o077, self.folder.stat().st_mode & 0o077) == (0, 0)
