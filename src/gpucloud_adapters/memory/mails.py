"""Mails in memory: their rows, and a mailer that keeps what it is given."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from gpucloud_adapters.memory.database import MemoryDatabase
from gpucloud_adapters.memory.rows import MemoryRows
from gpucloud_adapters.stored.kinds import MAILS
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.notices.mail import MailRefused, MailUnavailable, Message
from gpucloud_core.notices.model import Mail


class MemoryMails(MemoryRows[Mail]):
    def __init__(self, database: MemoryDatabase, scope: Scope) -> None:
        super().__init__(database, scope, MAILS)

    async def due(self, now: datetime, *, limit: int) -> Sequence[Mail]:
        found = self.having(lambda row: row.due_at is not None and row.due_at <= now)
        return sorted(found, key=lambda row: (row.due_at or now, row.id))[:limit]


@dataclass
class MemoryMailer:
    """Keeps every message it took, by its id.

    Attributes:
        sent: what was taken; a message handed over twice is there once.
        handed: ids of all that was handed over, in order.
        refuses: addresses that are not taken.
        away: it gives no answer.
    """

    sent: dict[str, Message] = field(default_factory=dict)
    handed: list[str] = field(default_factory=list)
    refuses: set[str] = field(default_factory=set)
    away: bool = False

    async def send(self, message: Message) -> None:
        self.handed.append(message.id)
        if self.away:
            raise MailUnavailable
        if message.to in self.refuses:
            raise MailRefused(f"Nobody is called {message.to} here.")
        self.sent[message.id] = message
