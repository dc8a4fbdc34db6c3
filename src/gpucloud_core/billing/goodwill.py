"""Credit that an operator gives: with a reason, within a limit, never refundable."""

from dataclasses import dataclass
from typing import Final

from gpucloud_core.access.acting import fact_by
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.billing import ledger
from gpucloud_core.billing.accounts import keep_books, lock_account, read_books
from gpucloud_core.billing.amounts import CENT_MICROS
from gpucloud_core.billing.model import Balance
from gpucloud_core.billing.ports import BillingUnit
from gpucloud_core.kernel.errors import FieldError, ValidationFailed
from gpucloud_core.kernel.idempotency import IdempotencyKey, remember, replay
from gpucloud_core.kernel.ids import TenantId
from gpucloud_core.kernel.unit import Scope, Transactions

GOODWILL_MAX_MICROS: Final = 1_000_000_000
"""The most that is given at once: 1000 in the tenant's currency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveGoodwill:
    """Put credit of ours on a tenant's balance."""

    transactions: Transactions[BillingUnit]

    async def __call__(
        self,
        *,
        actor: Actor,
        tenant_id: TenantId,
        micros: int,
        reason: str,
        idempotency: IdempotencyKey,
    ) -> Balance:
        """Give it once per key and return the balance as it is then.

        Raises:
            Forbidden: the actor is no operator of ours.
            NotFound: there is no such tenant.
            ValidationFailed: the amount is out of bounds, or no reason is given.
        """
        require(actor, Action.ANY_BALANCE_ADJUST, tenant_id=actor.tenant_id)
        if faults := _faults(micros, reason):
            raise ValidationFailed("The credit needs another look.", fields=faults)
        async with self.transactions.begin(Scope.platform()) as unit:
            before = await read_books(unit, await lock_account(unit, tenant_id))
            now = await unit.now()
            if await replay(unit, idempotency) is not None:
                return before.balance(now)
            given, lot = ledger.goodwill(
                tenant_id=tenant_id, key=idempotency.id, micros=micros, memo=reason.strip(), at=now
            )
            after = before.posted(given, lots=(lot,)).ready(now, funded=True)
            await keep_books(unit, before, after)
            await remember(unit, idempotency, given.id)
            await unit.audit(
                fact_by(
                    actor,
                    action="balance.goodwill",
                    target=tenant_id,
                    changes={"micros": [None, micros], "reason": [None, reason]},
                )
            )
        return after.balance(now)


def _faults(micros: int, reason: str) -> list[FieldError]:
    found = []
    if not 0 < micros <= GOODWILL_MAX_MICROS or micros % CENT_MICROS:
        detail = "Give between 0.01 and 1000.00, in whole cents."
        found.append(FieldError("/amount_micros", "out_of_range", detail))
    if not reason.strip():
        found.append(FieldError("/reason", "blank", "Say why; it stands on the ledger."))
    return found
