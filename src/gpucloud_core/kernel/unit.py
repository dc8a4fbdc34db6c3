"""A unit of work: one transaction, one scope, and what every use case needs inside it.

Leaving the block cleanly commits; an exception rolls everything back. Nobody calls commit, and
no outside call is made inside. Each concept declares a narrow unit of its own that adds its rows
to this one; one adapter class satisfies them all.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, Self, TypeAlias, TypeVar

from gpucloud_core.kernel.idempotency import StoredResponses
from gpucloud_core.kernel.ids import ProjectId, TenantId, UserId

Json: TypeAlias = "str | int | bool | list[Json] | dict[str, Json] | None"


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose rows a unit may touch: one tenant's, or (``tenant_id`` None) the platform's."""

    tenant_id: TenantId | None

    @classmethod
    def tenant(cls, tenant_id: TenantId) -> "Scope":
        return cls(tenant_id)

    @classmethod
    def platform(cls) -> "Scope":
        """Workers, webhooks, sign-in and operators: not bound to a tenant, always audited."""
        return cls(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, kept in the transaction that made it so (the outbox).

    Attributes:
        kind: past tense or a state entered, such as ``allocation.releasing``.
        subject: id of the object; the relay keeps the order per subject.
        payload: facts for consumers; never a secret.
    """

    kind: str
    subject: str
    tenant_id: TenantId | None = None
    payload: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFact:
    """Who did what to what, for the audit row of the same transaction.

    ``changes`` holds before and after of allow-listed fields, as ``name: [before, after]``.
    """

    action: str
    target: str
    result: str = "ok"
    tenant_id: TenantId | None = None
    project_id: ProjectId | None = None
    user_id: UserId | None = None
    actor: str = "system"
    via: str = "system"  # ui, api, key, worker, system
    correlation_id: str = ""
    ip: str = ""
    user_agent: str = ""
    changes: Mapping[str, Json] = field(default_factory=dict)


class Unit(Protocol):
    """What any use case may do besides reading and writing rows."""

    @property
    def stored_responses(self) -> StoredResponses: ...

    def within(self, scope: Scope) -> AbstractAsyncContextManager[Self]:
        """Begin a part of this transaction in ``scope``; an exception undoes that part alone."""
        ...

    async def now(self, *, not_before: datetime | None = None) -> datetime:
        """Return the database's wall clock, aware UTC, never before ``not_before``."""
        ...

    async def emit(self, event: Event) -> None:
        """Write ``event`` to the outbox in this transaction."""
        ...

    async def audit(self, fact: AuditFact) -> None:
        """Write one audit row in this transaction."""
        ...


U_co = TypeVar("U_co", covariant=True)


class Transactions(Protocol[U_co]):
    """Begins units of work."""

    def begin(self, scope: Scope) -> AbstractAsyncContextManager[U_co]:
        """Begin a unit in ``scope``; leaving the block commits, an exception rolls back."""
        ...

    def look(self, scope: Scope) -> AbstractAsyncContextManager[U_co]:
        """Begin a unit in ``scope`` that only reads, and costs little more than what it reads.

        It locks nothing, and each read sees what is committed at its own moment, as in a unit that
        ``begin`` gives. Within a keyed attempt it is a part of the attempt, and sees what that did.

        Raises:
            InvariantError: something was to be changed.
        """
        ...
