"""The ledger in memory: transfers are appended, balances move with them."""

from collections.abc import Mapping, Sequence

from gpucloud_adapters.memory.database import MemoryDatabase
from gpucloud_adapters.memory.rows import MemoryRows
from gpucloud_adapters.stored.invariants import InvariantError, require_balanced, require_covered
from gpucloud_adapters.stored.kinds import HOLDS, LEDGER_TRANSFERS, USAGE_SEGMENTS
from gpucloud_core.billing.model import AccountKind, HoldState, Transfer
from gpucloud_core.billing.ports import OpenRows
from gpucloud_core.kernel.ids import TenantId
from gpucloud_core.kernel.rows import ListQuery, Page
from gpucloud_core.kernel.unit import Scope


class MemoryLedger:
    def __init__(self, database: MemoryDatabase, scope: Scope) -> None:
        self._database = database
        self._scope = scope
        self._rows = MemoryRows(database, scope, LEDGER_TRANSFERS)

    async def post(self, transfer: Transfer) -> bool:
        posted = await self._rows.count(
            tenant_id=transfer.tenant_id, idempotency_key=transfer.idempotency_key
        )
        if posted:
            return False
        if self._scope.tenant_id not in {None, transfer.tenant_id}:
            raise InvariantError("this transfer is another tenant's")
        require_balanced(transfer.id, transfer.entries)
        balances = await self.balances(transfer.tenant_id)
        after = {name: balances[name] + amount for name, amount in transfer.entries.items()}
        for account, balance in after.items():
            require_covered(account, balance)
        await self._rows.add(transfer)
        for account, balance in after.items():
            key = (transfer.tenant_id, account)
            self._database.journal.assign(self._database.balances, key, balance)
        return True

    async def post_many(self, transfers: Sequence[Transfer]) -> frozenset[str]:
        return frozenset([each.id for each in transfers if await self.post(each)])

    async def balances(self, tenant_id: TenantId) -> Mapping[AccountKind, int]:
        if self._scope.tenant_id not in {None, tenant_id}:
            return dict.fromkeys(AccountKind, 0)
        stored = self._database.balances
        return {account: stored.get((tenant_id, account), 0) for account in AccountKind}

    async def open_rows(self, tenant_id: TenantId) -> OpenRows:
        segments = MemoryRows(self._database, self._scope, USAGE_SEGMENTS)
        holds = MemoryRows(self._database, self._scope, HOLDS)
        return OpenRows(
            balances=await self.balances(tenant_id),
            segments=await segments.find(tenant_id=tenant_id, ended_at=None),
            holds=await holds.find(tenant_id=tenant_id, state=HoldState.OPEN),
        )

    async def transfers(self, query: ListQuery) -> Page[Transfer]:
        return await self._rows.page(query)
