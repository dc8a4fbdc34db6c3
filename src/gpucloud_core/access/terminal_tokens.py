"""One-time tokens that open a terminal: a WebSocket cannot carry a bearer token in a browser.

A token lives thirty seconds, works once, and only for the allocation and the origin it was made
for. Trying it elsewhere spends it. Whether the allocation can have a shell at all is for
``allocations`` to say.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gpucloud_core.access.acting import fact_by, person
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor, OneTimeToken
from gpucloud_core.access.ports import AccessUnit, Secrets
from gpucloud_core.access.session_life import token_hash
from gpucloud_core.kernel.errors import DomainError, ErrorKind
from gpucloud_core.kernel.ids import AllocationId, ProjectId
from gpucloud_core.kernel.unit import Scope, Transactions

TERMINAL: Final = "terminal"
LIFETIME: Final = timedelta(seconds=30)


class TerminalTokenInvalid(DomainError):
    """This terminal token is not good, or no longer."""

    code = "terminal_token_invalid"
    kind = ErrorKind.UNAUTHENTICATED
    next_step = "Open the terminal again; each token works once, within 30 seconds."


@dataclass(frozen=True, slots=True, kw_only=True)
class MintedToken:
    """The secret, in clear, once."""

    token: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"MintedToken(expires_at={self.expires_at!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class MintTerminalToken:
    """Make a token for one terminal of an allocation of the actor's tenant."""

    transactions: Transactions[AccessUnit]
    secrets: Secrets

    async def __call__(
        self, *, actor: Actor, allocation_id: AllocationId, project_id: ProjectId, origin: str
    ) -> MintedToken:
        """Return the token.

        Args:
            actor: who will sit at the terminal.
            allocation_id: which the caller has read in the actor's tenant.
            project_id: the allocation's.
            origin: of the page that will connect; empty for programs, which send none.

        Raises:
            Forbidden: the actor's role in the project is too weak.
            NotFound: the actor is not in the project.
        """
        require(
            actor,
            Action.ALLOCATION_TERMINAL,
            tenant_id=actor.tenant_id,
            project_id=project_id,
        )
        secret = self.secrets.token()
        async with self.transactions.begin(Scope.tenant(actor.tenant_id)) as unit:
            minted = OneTimeToken(
                id=token_hash(secret),
                tenant_id=actor.tenant_id,
                user_id=person(actor),
                purpose=TERMINAL,
                subject=allocation_id,
                binding=origin,
                session_id=actor.session_id,
                expires_at=await unit.now() + LIFETIME,
            )
            await unit.one_time_tokens.add(minted)
            await unit.audit(
                fact_by(
                    actor,
                    action="allocation.terminal_token",
                    target=allocation_id,
                    project_id=project_id,
                )
            )
        return MintedToken(token=secret, expires_at=minted.expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedeemTerminalToken:
    """Spend a token and say who may have the terminal."""

    transactions: Transactions[AccessUnit]

    async def __call__(
        self, *, token: str, allocation_id: AllocationId, origin: str
    ) -> OneTimeToken:
        """Return the token's row; it is spent whatever the outcome.

        Raises:
            TerminalTokenInvalid: unknown, spent, too old, or made for something else.
        """
        async with self.transactions.begin(Scope.platform()) as unit:
            row = await unit.one_time_tokens.use(token_hash(token), await unit.now())
        if row is None or (row.purpose, row.subject, row.binding) != (
            TERMINAL,
            allocation_id,
            origin,
        ):
            raise TerminalTokenInvalid
        return row
