"""Rows of notices. They stand at the top of the ladder, so that a rule may look at anything."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.kernel.rows import Rows
from gpucloud_core.notices.model import AttentionRow, InboxNotice, Mail


class Mails(Rows[Mail], Protocol):
    async def due(self, now: datetime, *, limit: int) -> Sequence[Mail]:
        """Return mails that are due, locked, those due for longest first; skip what others hold."""
        ...


class NoticeUnit(AllocationUnit, Protocol):
    @property
    def inbox_notices(self) -> Rows[InboxNotice]: ...
    @property
    def attention_rows(self) -> Rows[AttentionRow]: ...
    @property
    def mails(self) -> Mails: ...
