"""Notices and attention rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from gpucloud_core.kernel.ids import TenantId, UserId
from gpucloud_core.kernel.unit import Json


class NoticeLevel(StrEnum):
    INFO = "info"
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


class Severity(StrEnum):
    NOTICE = "notice"  # look at it some time
    WARNING = "warning"  # look at it today
    CRITICAL = "critical"  # money, tenants' data or capacity is at stake now


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxNotice:
    """Something one person is told. What concerns all owners is told to each of them."""

    id: str
    tenant_id: TenantId
    user_id: UserId
    key: str  # unique for the person: whatever is told twice is kept once
    kind: str
    level: NoticeLevel
    title: str
    text: str
    link: str = ""  # a path of the web interface
    created_at: datetime
    read_at: datetime | None = None


class MailState(StrEnum):
    QUEUED = "queued"
    SENT = "sent"  # a mail server took it
    REFUSED = "refused"  # it will not be taken
    GIVEN_UP = "given_up"  # nobody took it for too long


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail to one person. ``due_at`` is when it is to be handed over; None: that is over."""

    id: str
    tenant_id: TenantId
    user_id: UserId
    key: str  # unique: what is mailed twice is mailed once
    to: str
    subject: str
    text: str
    link: str = ""  # a path of the web interface, put below the text
    state: MailState = MailState.QUEUED
    tries: int = 0
    due_at: datetime | None
    created_at: datetime
    sent_at: datetime | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionRow:
    """Something that is so and should not be, for operators, until it is so no more.

    There is one open row per kind and subject; what is noticed again moves ``last_seen``.
    """

    id: str
    kind: str
    subject: str
    severity: Severity
    title: str
    facts: Mapping[str, Json] = field(default_factory=dict)
    first_seen: datetime
    last_seen: datetime
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    reason: str = ""  # of the last acknowledgement or snooze
    snoozed_until: datetime | None = None
    cleared_at: datetime | None = None
