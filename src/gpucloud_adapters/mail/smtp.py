"""Mails over SMTP. What a server says of the message is final; everything else is tried again.

Source: RFC 5321 section 4.2.1 (5yz is permanent, 4yz transient), read 2026-11-28.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

import aiosmtplib
from aiosmtplib import (
    SMTPDataError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPRecipientsRefused,
)

from gpucloud_adapters.mail.mime import mime_of
from gpucloud_core.notices.mail import MailRefused, MailUnavailable, Message

TIMEOUT_SECONDS: Final = 20.0
_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_PERMANENT: Final = range(500, 600)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpServer:
    """Where mail is handed over.

    Attributes:
        tls: TLS from the first byte; otherwise STARTTLS, which has to succeed.
        plain: neither, for a server on this machine.
    """

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    tls: bool = False
    plain: bool = False


def smtp_server(url: str) -> SmtpServer:
    """Return the server that an address names; one on this machine may do without TLS."""
    parts = urlsplit(url)
    tls, host = parts.scheme == "smtps", parts.hostname or "localhost"
    return SmtpServer(
        host=host,
        port=parts.port or (465 if tls else 587),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=tls,
        plain=not tls and host in _HERE,
    )


class SmtpMailer:
    """Hands each message over on a connection of its own."""

    def __init__(
        self, server: SmtpServer, *, sender: str, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self._server = server
        self._sender = sender
        self._timeout = timeout_seconds

    async def send(self, message: Message) -> None:
        server = self._server
        try:
            await aiosmtplib.send(
                mime_of(message, self._sender),
                hostname=server.host,
                port=server.port,
                username=server.username,
                password=server.password,
                use_tls=server.tls,
                start_tls=not (server.tls or server.plain),
                timeout=self._timeout,
            )
        except (SMTPException, OSError, ValueError) as error:
            raise _outcome(error) from error


def _outcome(error: Exception) -> MailRefused | MailUnavailable:
    """Return what a failure means: only a word on this recipient or this message is final."""
    if isinstance(error, SMTPRecipientsRefused):
        return _outcome(error.recipients[0])
    said = str(error.args[0] if error.args else error)[:200]
    if isinstance(error, SMTPRecipientRefused | SMTPDataError) and error.code in _PERMANENT:
        return MailRefused(f"The mail server refused it: {error.code} {error.message[:200]}")
    if isinstance(error, ValueError):  # no header can hold it
        return MailRefused(f"It is no message: {said}")
    return MailUnavailable(f"The mail server did not take it: {said}")
