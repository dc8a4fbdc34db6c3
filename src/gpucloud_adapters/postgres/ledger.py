"""The ledger: one function of the database posts, and nothing else can."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import BigInteger, Column, MetaData, Table, Text, func, literal_column, select, text
from sqlalchemy.dialects.postgresql import JSONB

from gpucloud_adapters.postgres.mapping import row_of_json
from gpucloud_adapters.postgres.rows import PostgresRows
from gpucloud_adapters.postgres.session import Session
from gpucloud_adapters.postgres.statements import Statements
from gpucloud_adapters.stored import kinds
from gpucloud_core.billing.model import AccountKind, Transfer
from gpucloud_core.billing.ports import OpenRows
from gpucloud_core.kernel.ids import TenantId
from gpucloud_core.kernel.rows import ListQuery, Page

_entries: Final = Table(
    "ledger_entries",
    MetaData(),
    Column("transfer_id", Text),
    Column("account", Text),
    Column("amount_micros", BigInteger),
)
_OF_TRANSFER: Final = (
    select(
        func.coalesce(
            func.jsonb_object_agg(_entries.c.account, _entries.c.amount_micros),
            literal_column("'{}'::jsonb"),
            type_=JSONB,
        )
    )
    .where(_entries.c.transfer_id == literal_column("ledger_transfers.id"))
    .scalar_subquery()
)
TRANSFERS: Final = Statements(kinds.LEDGER_TRANSFERS, {"entries": _OF_TRANSFER})

_POST: Final = text("""
    SELECT post_transfer(
        :id, :tenant_id, :kind, :idempotency_key, :at, :memo, :project_id, :allocation_id,
        :corrects, CAST(:accounts AS text[]), CAST(:amounts AS bigint[])
    )
""")
_BALANCES: Final = text("""
    SELECT account, balance_micros FROM ledger_accounts WHERE tenant_id = :tenant_id
""")

_OPEN: Final = text("""
    SELECT
        (SELECT jsonb_object_agg(account, balance_micros)
         FROM ledger_accounts WHERE tenant_id = :tenant_id),
        (SELECT jsonb_agg(to_jsonb(s) ORDER BY s.id)
         FROM usage_segments AS s WHERE s.tenant_id = :tenant_id AND s.ended_at IS NULL),
        (SELECT jsonb_agg(to_jsonb(h) ORDER BY h.id)
         FROM holds AS h WHERE h.tenant_id = :tenant_id AND h.state = 'open')
""")
_segment: Final = row_of_json(kinds.USAGE_SEGMENTS)
_hold: Final = row_of_json(kinds.HOLDS)


class PostgresLedger:
    def __init__(self, session: Session) -> None:
        self._session = session

    async def post(self, transfer: Transfer) -> bool:
        values = TRANSFERS.mapping.encode(transfer)
        entries = values.pop("entries")
        values |= {"accounts": list(entries), "amounts": list(entries.values())}
        return bool(await self._session.value(_POST, values))

    async def balances(self, tenant_id: TenantId) -> Mapping[AccountKind, int]:
        found = await self._session.rows(_BALANCES, {"tenant_id": tenant_id})
        return _every_account(dict(tuple(row) for row in found))

    async def open_rows(self, tenant_id: TenantId) -> OpenRows:
        ((balances, segments, holds),) = await self._session.rows(_OPEN, {"tenant_id": tenant_id})
        return OpenRows(
            balances=_every_account(balances or {}),
            segments=tuple(map(_segment, segments or ())),
            holds=tuple(map(_hold, holds or ())),
        )

    async def transfers(self, query: ListQuery) -> Page[Transfer]:
        return await PostgresRows(self._session, TRANSFERS).page(query)


def _every_account(stored: Mapping[str, int]) -> dict[AccountKind, int]:
    return {account: stored.get(account, 0) for account in AccountKind}
