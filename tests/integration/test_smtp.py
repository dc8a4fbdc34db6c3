"""Mails over SMTP to a real server: whole, once known again, and with the right word when refused.

Seen to fail when every answer with a 5 in front counted as final (a login that is refused), and
when a server without STARTTLS was taken as it is.
"""

import asyncio
import ssl
import subprocess
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from contracts.mailer import MESSAGE, RefusingMailerContract
from embedded_servers import free_port
from gpucloud_adapters.mail.smtp import SmtpMailer, SmtpServer, smtp_server
from gpucloud_core.notices.mail import Mailer, MailUnavailable

SENDER = "gpus <no-reply@gpus.example>"


class Post:
    """What the server does with what it is given."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.answer = ""

    async def handle_RCPT(  # noqa: N802  the library's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.answer:
            return self.answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=POLICY)
        assert isinstance(mail, EmailMessage)
        assert envelope.mail_from == "no-reply@gpus.example"
        self.mails.append(mail)
        return "250 taken"


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
def port(post: Post) -> Iterator[int]:
    controller = Controller(post, hostname="127.0.0.1", port=free_port())
    controller.start()
    self_port = controller.port
    yield self_port
    controller.stop()


class TestSmtpMailer(RefusingMailerContract):
    @pytest.fixture
    def mailer(self, post: Post, port: int) -> SmtpMailer:
        self.post, self.port = post, port
        return SmtpMailer(smtp_server(f"smtp://127.0.0.1:{port}"), sender=SENDER)

    async def arrived(self, mailer: Mailer) -> list[EmailMessage]:
        return self.post.mails

    async def take_away(self, mailer: Mailer) -> None:
        assert isinstance(mailer, SmtpMailer)
        mailer._server = SmtpServer(host="127.0.0.1", port=free_port(), plain=True)

    async def refuse(self, mailer: Mailer, *, for_good: bool) -> None:
        self.post.answer = "550 no such person" if for_good else "451 later, perhaps"


class TestAServer:
    async def test_that_says_nothing_is_not_waited_for_for_ever(self) -> None:
        gone = asyncio.Event()

        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()
            await writer.wait_closed()
            gone.set()

        silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        server = SmtpServer(host="127.0.0.1", port=port, plain=True)
        mailer = SmtpMailer(server, sender=SENDER, timeout_seconds=0.3)

        with pytest.raises(MailUnavailable):
            await mailer.send(MESSAGE)
        async with asyncio.timeout(5):
            await gone.wait()
        silent.close()

    async def test_without_starttls_gets_nothing(self, post: Post, port: int) -> None:
        mailer = SmtpMailer(SmtpServer(host="127.0.0.1", port=port), sender=SENDER)

        with pytest.raises(MailUnavailable):
            await mailer.send(MESSAGE)
        assert post.mails == []

    @pytest.mark.parametrize(("password", "taken"), [("right", 1), ("wrong", 0)])
    async def test_with_starttls_and_a_password_lets_in_who_knows_it(
        self,
        post: Post,
        certificate: Path,
        password: str,
        taken: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        controller = Controller(
            post,
            hostname="127.0.0.1",
            port=free_port(),
            tls_context=context,
            require_starttls=True,
            auth_required=True,
            authenticator=lambda *given: AuthResult(
                success=given[4].password == b"right", handled=False
            ),
        )
        controller.start()
        server = smtp_server(f"smtp://ada:{password}@localhost:{controller.port}")
        mailer = SmtpMailer(
            SmtpServer(
                host=server.host,
                port=server.port,
                username=server.username,
                password=server.password,
            ),
            sender=SENDER,
            timeout_seconds=5,
        )
        try:
            if taken:
                await mailer.send(MESSAGE)
            else:
                with pytest.raises(MailUnavailable):
                    await mailer.send(MESSAGE)
        finally:
            controller.stop()
        assert len(post.mails) == taken


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of localhost, with its key, in one file."""
    file, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(file)),
        ],
        check=True,
        capture_output=True,
    )
    file.write_bytes(file.read_bytes() + key.read_bytes())
    return file
