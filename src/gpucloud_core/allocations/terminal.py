"""Who may have a shell in a slice, where it is, and whether it may stay open."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gpucloud_core.access.authorize import Action, Denied, authorize
from gpucloud_core.access.model import Actor, ProjectMember, Session, TenantMember, User
from gpucloud_core.access.session_life import is_alive
from gpucloud_core.access.terminal_tokens import (
    MintedToken,
    MintTerminalToken,
    RedeemTerminalToken,
    TerminalTokenInvalid,
)
from gpucloud_core.allocations.errors import NotConnectable
from gpucloud_core.allocations.model import Allocation, AllocationState
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.queries import readable
from gpucloud_core.allocations.terminal_life import (
    ACCESS_REMOVED,
    NOT_ACTIVE,
    SIGNED_OUT,
    USER_DISABLED,
    Ended,
)
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import (
    AllocationId,
    ClaimId,
    ProjectId,
    SessionId,
    TenantId,
    UserId,
)
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.nodes.model import NodeAccess
from gpucloud_core.nodes.ports import Shells, ShellSession

HAVE_SHELLS: Final = frozenset({AllocationState.ACTIVE, AllocationState.DEGRADED})
"""States with a shell: also of what does not work, people want their files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTerminal:
    """Mint the one-time token with which a terminal may be opened."""

    transactions: Transactions[AllocationUnit]
    mint: MintTerminalToken

    async def __call__(
        self, *, actor: Actor, allocation_id: AllocationId, origin: str
    ) -> MintedToken:
        """Return a token for this allocation and this origin.

        Raises:
            NotFound, Forbidden: not theirs, or not theirs to enter.
            NotConnectable: it has no shell now.
        """
        async with self.transactions.begin(Scope.tenant(actor.tenant_id)) as unit:
            allocation = await readable(unit, actor, allocation_id, Action.ALLOCATION_TERMINAL)
        _connectable(allocation)
        return await self.mint(
            actor=actor,
            allocation_id=allocation_id,
            project_id=allocation.project_id,
            origin=origin,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who sits at a terminal, signed in where, and at which allocation."""

    tenant_id: TenantId
    user_id: UserId
    session_id: SessionId | None
    allocation_id: AllocationId


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The right to a shell, and where it is."""

    holder: Holder
    actor: Actor
    project_id: ProjectId
    access: NodeAccess
    claim_id: ClaimId


@dataclass(frozen=True, slots=True, kw_only=True)
class Standings:
    """The rows that say who may stay at their terminal."""

    allocations: Mapping[str, Allocation]
    sessions: Mapping[str, Session]
    users: Mapping[str, User]
    tenant_members: Mapping[tuple[str, str], TenantMember]  # by tenant and user
    project_members: Sequence[ProjectMember]
    now: datetime


def must_end(holder: Holder, rows: Standings) -> Ended | None:
    """Return why ``holder`` may not have a terminal, or not any more."""
    allocation = rows.allocations.get(holder.allocation_id)
    if allocation is None or allocation.state not in HAVE_SHELLS:
        return NOT_ACTIVE
    user = rows.users.get(holder.user_id)
    if user is None or user.disabled_at is not None:
        return USER_DISABLED
    if holder.session_id is not None:
        session = rows.sessions.get(holder.session_id)
        if session is None or not is_alive(session, rows.now):
            return SIGNED_OUT
    actor = _actor(holder, user, rows)
    answer = authorize(
        actor,
        Action.ALLOCATION_TERMINAL,
        tenant_id=allocation.tenant_id,
        project_id=allocation.project_id,
    )
    return ACCESS_REMOVED if isinstance(answer, Denied) else None


def _actor(holder: Holder, user: User, rows: Standings) -> Actor:
    member = rows.tenant_members.get((holder.tenant_id, holder.user_id))
    roles = {
        ProjectId(one.project_id): one.role
        for one in rows.project_members
        if (one.tenant_id, one.user_id) == (holder.tenant_id, holder.user_id)
    }
    return Actor(
        user_id=user.id,
        username=user.username,
        tenant_id=holder.tenant_id,
        tenant_role=member.role if member else None,
        platform_role=user.platform_role,
        project_roles=roles if member else {},
    )


async def _standings(unit: AllocationUnit, holders: Sequence[Holder]) -> Standings:
    """Read what decides about all of them, in a handful of statements however many they are."""
    users = sorted({holder.user_id for holder in holders})
    sessions = sorted({holder.session_id for holder in holders if holder.session_id})
    allocations = sorted({holder.allocation_id for holder in holders})
    return Standings(
        allocations={row.id: row for row in await unit.allocations.find_any("id", allocations)},
        sessions={row.id: row for row in await unit.sessions.find_any("id", sessions)},
        users={row.id: row for row in await unit.users.find_any("id", users)},
        tenant_members={
            (row.tenant_id, row.user_id): row
            for row in await unit.tenant_members.find_any("user_id", users)
        },
        project_members=await unit.project_members.find_any("user_id", users),
        now=await unit.now(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmitToTerminal:
    """Spend a token and say where the shell is that it stands for; no node is asked yet."""

    transactions: Transactions[AllocationUnit]
    redeem: RedeemTerminalToken

    async def __call__(self, *, token: str, allocation_id: AllocationId, origin: str) -> Admission:
        """Return the admission; the token is spent whatever the outcome.

        Raises:
            TerminalTokenInvalid: unknown, spent, too old, for something else, or its owner may not
                any more.
            NotConnectable: the allocation has no shell now.
        """
        spent = await self.redeem(token=token, allocation_id=allocation_id, origin=origin)
        holder = Holder(
            tenant_id=spent.tenant_id,
            user_id=spent.user_id,
            session_id=spent.session_id,
            allocation_id=allocation_id,
        )
        async with self.transactions.begin(Scope.platform()) as unit:
            rows = await _standings(unit, [holder])
            allocation = rows.allocations.get(allocation_id)
            if allocation is None:
                raise NotFound("There is no allocation with this id.")
            _connectable(allocation)
            if (reason := must_end(holder, rows)) is not None:
                raise TerminalTokenInvalid(reason.words)
            node = await unit.nodes.get(allocation.node_id)
            if node is None:
                raise NotFound("The allocation's node is gone.")
        return Admission(
            holder=holder,
            actor=_actor(holder, rows.users[holder.user_id], rows),
            project_id=allocation.project_id,
            access=node.access,
            claim_id=allocation.claim_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenShell:
    """Open the shell of an admission."""

    shells: Shells

    async def __call__(self, admission: Admission, *, columns: int, rows: int) -> ShellSession:
        """Return the shell; whoever gets it closes it.

        Raises:
            NodeUnreachable, NodeRefused, HostKeyChanged: the node did not give a shell.
        """
        return await self.shells.open(
            admission.access, admission.claim_id, columns=columns, rows=rows
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeTerminals:
    """Which of the open terminals must be closed; asked every few seconds, for all at once."""

    transactions: Transactions[AllocationUnit]

    async def __call__(self, holders: Sequence[Holder]) -> Mapping[Holder, Ended]:
        """Return those who may not stay, each with the reason."""
        if not holders:
            return {}
        async with self.transactions.begin(Scope.platform()) as unit:
            rows = await _standings(unit, holders)
        verdicts = {holder: must_end(holder, rows) for holder in holders}
        return {holder: reason for holder, reason in verdicts.items() if reason is not None}


def _connectable(allocation: Allocation) -> None:
    if allocation.state not in HAVE_SHELLS:
        raise NotConnectable(f"It is {allocation.state}. {NotConnectable.next_step}")
