"""Who may have a shell in a slice, where it is, and for how long it may stay open."""

from dataclasses import dataclass

from gpucloud_core.access.authorize import Action
from gpucloud_core.access.model import Actor
from gpucloud_core.access.terminal_tokens import (
    MintedToken,
    MintTerminalToken,
    RedeemTerminalToken,
)
from gpucloud_core.allocations.errors import NotConnectable
from gpucloud_core.allocations.model import Allocation, AllocationState
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.queries import readable
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import AllocationId, TenantId
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.nodes.model import NodeAccess
from gpucloud_core.nodes.ports import Shells, ShellSession


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
            NotConnectable: it is not active.
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
class Terminal:
    """An open shell and whose it is."""

    shell: ShellSession
    tenant_id: TenantId
    allocation_id: AllocationId


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectTerminal:
    """Spend a token and open the shell it stands for."""

    transactions: Transactions[AllocationUnit]
    redeem: RedeemTerminalToken
    shells: Shells

    async def __call__(
        self, *, token: str, allocation_id: AllocationId, origin: str, columns: int, rows: int
    ) -> Terminal:
        """Open the shell; the token is spent whatever the outcome.

        Raises:
            TerminalTokenInvalid: unknown, spent, too old, or for something else.
            NotConnectable: the allocation is no longer active.
            NodeUnreachable, NodeRefused, HostKeyChanged: the node did not give a shell.
        """
        spent = await self.redeem(token=token, allocation_id=allocation_id, origin=origin)
        allocation, access = await self._where(spent.tenant_id, allocation_id)
        shell = await self.shells.open(access, allocation.claim_id, columns=columns, rows=rows)
        return Terminal(shell=shell, tenant_id=spent.tenant_id, allocation_id=allocation_id)

    async def _where(
        self, tenant_id: TenantId, allocation_id: AllocationId
    ) -> tuple[Allocation, NodeAccess]:
        async with self.transactions.begin(Scope.tenant(tenant_id)) as unit:
            allocation = await unit.allocations.get(allocation_id)
            if allocation is None:
                raise NotFound("There is no allocation with this id.")
            _connectable(allocation)
            node = await unit.nodes.get(allocation.node_id)
            if node is None:
                raise NotFound("The allocation's node is gone.")
        return allocation, node.access


@dataclass(frozen=True, slots=True, kw_only=True)
class MayStayOpen:
    """Whether a terminal may go on; asked every few seconds while it is open."""

    transactions: Transactions[AllocationUnit]

    async def __call__(self, terminal: Terminal) -> bool:
        async with self.transactions.begin(Scope.tenant(terminal.tenant_id)) as unit:
            allocation = await unit.allocations.get(terminal.allocation_id)
        return allocation is not None and allocation.state is AllocationState.ACTIVE


def _connectable(allocation: Allocation) -> None:
    if allocation.state is not AllocationState.ACTIVE:
        raise NotConnectable(f"It is {allocation.state}. {NotConnectable.next_step}")
