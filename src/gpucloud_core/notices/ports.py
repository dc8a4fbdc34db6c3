"""Rows of notices. They stand at the top of the ladder, so that a rule may look at anything."""

from typing import Protocol

from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.kernel.rows import Rows
from gpucloud_core.notices.model import AttentionRow, InboxNotice


class NoticeUnit(AllocationUnit, Protocol):
    @property
    def inbox_notices(self) -> Rows[InboxNotice]: ...
    @property
    def attention_rows(self) -> Rows[AttentionRow]: ...
