"""Every kind of row that is stored, and what a store must keep true of it.

A kind is data: the row's class, whose it is, what is unique, what lists may search and sort by.
The memory adapter obeys it directly; for Postgres a test compares it with the migrated schema.
Fields are the dataclass's own, so that a row is described in one place.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

from gpucloud_adapters.stored.fields import Field, fields_of
from gpucloud_core.access.model import (
    OneTimeToken,
    Project,
    ProjectMember,
    SavedView,
    Session,
    SshKey,
    Tenant,
    TenantMember,
    User,
)
from gpucloud_core.allocations.model import Allocation, StateChange, TerminalLease
from gpucloud_core.audit.chain import ChainHead
from gpucloud_core.billing.model import (
    BillingAccount,
    Hold,
    HoldState,
    PaymentSession,
    Transfer,
    WebhookEvent,
)
from gpucloud_core.catalog.model import OsImage, Price, Sku
from gpucloud_core.kernel.audit import AuditRow
from gpucloud_core.kernel.idempotency import StoredResponse
from gpucloud_core.kernel.ids import TenantId
from gpucloud_core.kernel.secret_box import SealedSecret
from gpucloud_core.metering.model import UsageSegment
from gpucloud_core.nodes.model import Node, NodeStatus, Slot, SlotState
from gpucloud_core.notices.model import AttentionRow, InboxNotice, Mail
from gpucloud_core.placement.model import Claim, NodeCapacity
from gpucloud_core.placement.promises import Promise
from gpucloud_core.waitlist.model import WaitEntry
from gpucloud_core.work.model import Task, TaskEvent

T = TypeVar("T")


class Tenancy(StrEnum):
    """Who sees rows of a kind, and who writes them."""

    OWNED = "owned"  # each row is one tenant's: a tenant's unit sees and writes only its own
    SHARED = "shared"  # every unit reads them, only the platform's locks and writes them
    PLATFORM = "platform"  # only the platform's units see them


@dataclass(frozen=True, slots=True)
class Unique(Generic[T]):
    """Fields whose values together no two rows share; a row with a null among them is exempt.

    ``among`` says which rows it is about, where that is not all of them.
    """

    fields: tuple[str, ...]
    among: Callable[[T], bool] | None = None

    def value_of(self, row: T) -> tuple[object, ...] | None:
        """Return the values that must not occur twice; None if the row is exempt."""
        if self.among is not None and not self.among(row):
            return None
        values = tuple(getattr(row, name) for name in self.fields)
        return None if None in values else values


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A kind of row. ``table`` is also the unit's name for it; the first field is the key."""

    table: str
    row: type[T]
    tenancy: Tenancy = Tenancy.OWNED
    owner: str = "tenant_id"  # the field that names the tenant of an owned row
    unique: tuple[Unique[T], ...] = ()
    found_by: tuple[str, ...] = ()  # fields that ``find`` must be quick for
    sortable: tuple[str, ...] = ()  # besides the key
    searchable: tuple[str, ...] = ()

    @property
    def fields(self) -> Mapping[str, Field]:
        return fields_of(self.row)

    @property
    def key(self) -> str:
        return next(iter(self.fields))

    def key_of(self, row: T) -> str:
        key = getattr(row, self.key)
        assert isinstance(key, str)  # noqa: S101  every row's first field is its id
        return key

    def tenant_of(self, row: T) -> TenantId | None:
        """Return whose row it is; None if no tenant's."""
        tenant: TenantId | None = getattr(row, self.owner, None)
        return tenant if self.tenancy is Tenancy.OWNED else None

    def sort_field(self, name: str) -> Field | None:
        """Return the field that ``name`` sorts by (``id`` is the key); None if it may not."""
        if name in {"id", self.key}:
            return self.fields[self.key]
        return self.fields[name] if name in self.sortable else None

    def scalar(self, name: str) -> Field:
        """Return the field ``name``.

        Raises:
            TypeError: there is none of that name, or it has parts and cannot be compared.
        """
        field = self.fields.get(name)
        if field is None or field.scalar is None:
            raise TypeError(f"{self.table} cannot be found by {name!r}")
        return field


def _not_deleted(row: Any) -> bool:
    return row.deleted_at is None


def _open_claim(claim: Claim) -> bool:
    return claim.released_at is None


def _open_hold(hold: Hold) -> bool:
    return hold.state is HoldState.OPEN


def _running(segment: UsageSegment) -> bool:
    return segment.ended_at is None


def _in_service(node: Node) -> bool:
    return node.status not in {NodeStatus.RETIRED, NodeStatus.DELETED}


def _not_cleared(row: AttentionRow) -> bool:
    return row.cleared_at is None


def _sellable(slot: Slot) -> bool:
    return slot.state not in {SlotState.PROPOSED, SlotState.DISABLED}


def _with_disk(slot: Slot) -> bool:
    return _sellable(slot) and bool(slot.disk)


def _with_nic(slot: Slot) -> bool:
    return _sellable(slot) and bool(slot.nic)


TENANTS: Final[Kind[Tenant]] = Kind(
    "tenants",
    Tenant,
    owner="id",
    sortable=("name", "kind", "created_at"),
    searchable=("id", "name"),
)
USERS: Final[Kind[User]] = Kind(
    "users",
    User,
    Tenancy.SHARED,
    unique=(Unique(("username_key",)),),
    sortable=("username", "platform_role", "created_at"),
    searchable=("id", "username", "email"),
)
PROJECTS: Final[Kind[Project]] = Kind(
    "projects",
    Project,
    unique=(Unique(("tenant_id", "slug")),),
    found_by=("tenant_id",),
    sortable=("name", "created_at"),
    searchable=("id", "name", "slug"),
)
TENANT_MEMBERS: Final[Kind[TenantMember]] = Kind(
    "tenant_members",
    TenantMember,
    unique=(Unique(("tenant_id", "user_id")),),
    found_by=("tenant_id", "user_id"),
    sortable=("role", "created_at"),
)
PROJECT_MEMBERS: Final[Kind[ProjectMember]] = Kind(
    "project_members",
    ProjectMember,
    unique=(Unique(("project_id", "user_id")),),
    found_by=("project_id", "user_id"),
    sortable=("role", "created_at"),
)
SESSIONS: Final[Kind[Session]] = Kind(
    "sessions",
    Session,
    unique=(Unique(("access_hash",)), Unique(("refresh_hash",))),
    found_by=("user_id", "previous_refresh_hash"),
    sortable=("created_at", "last_seen_at", "ends_at"),
)
SSH_KEYS: Final[Kind[SshKey]] = Kind(
    "ssh_keys",
    SshKey,
    unique=(Unique(("tenant_id", "user_id", "fingerprint"), _not_deleted),),
    found_by=("user_id",),
    sortable=("name", "type", "created_at"),
    searchable=("id", "name", "fingerprint", "comment"),
)
SAVED_VIEWS: Final[Kind[SavedView]] = Kind(
    "saved_views",
    SavedView,
    unique=(Unique(("tenant_id", "user_id", "list", "name_key")),),
    found_by=("user_id",),
)
ONE_TIME_TOKENS: Final[Kind[OneTimeToken]] = Kind("one_time_tokens", OneTimeToken)

SKUS: Final[Kind[Sku]] = Kind(
    "skus",
    Sku,
    Tenancy.SHARED,
    sortable=("display_name", "gpu_model", "region", "created_at"),
    searchable=("id", "display_name", "gpu_model"),
)
PRICES: Final[Kind[Price]] = Kind(
    "prices",
    Price,
    Tenancy.SHARED,
    unique=(Unique(("sku_id", "starts_at")),),
    found_by=("sku_id",),
    sortable=("starts_at",),
)
OS_IMAGES: Final[Kind[OsImage]] = Kind(
    "os_images",
    OsImage,
    Tenancy.SHARED,
    sortable=("name", "created_at"),
    searchable=("id", "name"),
)

NODES: Final[Kind[Node]] = Kind(
    "nodes",
    Node,
    Tenancy.SHARED,
    unique=(Unique(("name",), _in_service),),
    sortable=("name", "region", "status", "mode", "probed_at", "created_at"),
    searchable=("id", "name", "region"),
)
SLOTS: Final[Kind[Slot]] = Kind(
    "slots",
    Slot,
    Tenancy.SHARED,
    unique=(
        Unique(("node_id", "index")),
        Unique(("ssh_host", "ssh_port"), _sellable),
        Unique(("node_id", "disk"), _with_disk),
        Unique(("node_id", "nic"), _with_nic),
    ),
    found_by=("node_id",),
    sortable=("index", "state", "state_since"),
    searchable=("id", "gpu_uuid"),
)
NODE_CAPACITY: Final[Kind[NodeCapacity]] = Kind("node_capacity", NodeCapacity, Tenancy.SHARED)
CLAIMS: Final[Kind[Claim]] = Kind(
    "claims",
    Claim,
    unique=(Unique(("allocation_id",), _open_claim),),
    found_by=("node_id", "allocation_id", "released_at"),
    sortable=("claimed_at", "released_at"),
)

PROMISES: Final[Kind[Promise]] = Kind(
    "promises", Promise, Tenancy.SHARED, found_by=("pool",), sortable=("until",)
)

USAGE_SEGMENTS: Final[Kind[UsageSegment]] = Kind(
    "usage_segments",
    UsageSegment,
    unique=(Unique(("allocation_id",), _running),),
    found_by=("tenant_id", "allocation_id", "ended_at"),
    sortable=("started_at", "ended_at", "rate_micros_per_hour", "sku_id", "gpu_count"),
)
BILLING_ACCOUNTS: Final[Kind[BillingAccount]] = Kind(
    "billing_accounts", BillingAccount, sortable=("standing", "depletes_at", "created_at")
)
HOLDS: Final[Kind[Hold]] = Kind(
    "holds",
    Hold,
    unique=(Unique(("allocation_id",), _open_hold),),
    found_by=("tenant_id", "allocation_id", "state"),
    sortable=("created_at", "amount_micros"),
)
PAYMENTS: Final[Kind[PaymentSession]] = Kind(
    "payments",
    PaymentSession,
    unique=(Unique(("provider_id",)),),
    found_by=("provider_payment_id",),
    sortable=("created_at", "updated_at", "amount_micros", "state"),
    searchable=("id", "provider_id", "provider_payment_id"),
)
WEBHOOK_EVENTS: Final[Kind[WebhookEvent]] = Kind(
    "webhook_events",
    WebhookEvent,
    Tenancy.PLATFORM,
    found_by=("object_id",),
    sortable=("kind", "received_at", "handled_at"),
    searchable=("id", "kind", "object_id"),
)
LEDGER_TRANSFERS: Final[Kind[Transfer]] = Kind(
    "ledger_transfers",
    Transfer,
    unique=(Unique(("tenant_id", "idempotency_key")),),
    found_by=("allocation_id",),
    sortable=("at", "kind"),
    searchable=("id", "memo", "idempotency_key"),
)

TASKS: Final[Kind[Task]] = Kind(
    "tasks",
    Task,
    found_by=("tenant_id", "subject", "parent_id", "finished_at"),
    sortable=("kind", "status", "created_at", "finished_at"),
    searchable=("id", "kind", "subject"),
)
TASK_EVENTS: Final[Kind[TaskEvent]] = Kind(
    "task_events", TaskEvent, found_by=("task_id",), sortable=("at",)
)

ALLOCATIONS: Final[Kind[Allocation]] = Kind(
    "allocations",
    Allocation,
    unique=(Unique(("claim_id",)),),
    found_by=("tenant_id", "project_id", "node_id", "task_id", "state"),
    sortable=(
        "name",
        "state",
        "sku_id",
        "gpu_count",
        "rate_micros_per_hour",
        "requested_at",
        "active_at",
        "ended_at",
    ),
    searchable=("id", "name"),
)
WAITLIST: Final[Kind[WaitEntry]] = Kind(
    "waitlist",
    WaitEntry,
    found_by=("pool", "project_id"),
    sortable=("state", "created_at", "expires_at"),
    searchable=("id", "sku_id"),
)
STATE_CHANGES: Final[Kind[StateChange]] = Kind(
    "state_changes", StateChange, found_by=("allocation_id",), sortable=("at",)
)
TERMINAL_LEASES: Final[Kind[TerminalLease]] = Kind("terminal_leases", TerminalLease)
STORED_RESPONSES: Final[Kind[StoredResponse]] = Kind("stored_responses", StoredResponse)
AUDIT_ROWS: Final[Kind[AuditRow]] = Kind(
    "audit_rows",
    AuditRow,
    unique=(Unique(("seq",)),),
    sortable=("at", "action"),
    searchable=("action", "target", "actor", "correlation_id"),
)
SECRETS: Final[Kind[SealedSecret]] = Kind("secrets", SealedSecret, Tenancy.PLATFORM)
INBOX_NOTICES: Final[Kind[InboxNotice]] = Kind(
    "inbox_notices",
    InboxNotice,
    unique=(Unique(("user_id", "key")),),
    found_by=("user_id",),
    sortable=("created_at", "level", "kind"),
    searchable=("id", "title", "text"),
)
MAILS: Final[Kind[Mail]] = Kind(
    "mails", Mail, unique=(Unique(("user_id", "key")),), found_by=("user_id", "tenant_id")
)
ATTENTION_ROWS: Final[Kind[AttentionRow]] = Kind(
    "attention_rows",
    AttentionRow,
    Tenancy.PLATFORM,
    unique=(Unique(("kind", "subject"), _not_cleared),),
    found_by=("subject", "cleared_at"),
    sortable=("kind", "severity", "first_seen", "last_seen", "cleared_at"),
    searchable=("id", "kind", "subject", "title"),
)
AUDIT_CHAIN: Final[Kind[ChainHead]] = Kind("audit_chain", ChainHead, Tenancy.PLATFORM)

KINDS: Final[tuple[Kind[Any], ...]] = tuple(
    value for value in list(globals().values()) if isinstance(value, Kind)
)
"""Every kind above."""
