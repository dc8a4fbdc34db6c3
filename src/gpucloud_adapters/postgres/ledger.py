"""The ledger: one function of the database posts, and nothing else can."""

from collections.abc import Mapping, Sequence
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

_ARGUMENTS: Final = """
    CAST(:id AS text[]), CAST(:tenant_id AS text[]), CAST(:kind AS text[]),
    CAST(:idempotency_key AS text[]), CAST(:at AS timestamptz[]), CAST(:memo AS text[]),
    CAST(:project_id AS text[]), CAST(:allocation_id AS text[]), CAST(:corrects AS text[]),
    CAST(:transfers AS text[]), CAST(:tenants AS text[]), CAST(:accounts AS text[]),
    CAST(:amounts AS bigint[])
"""
_POST: Final = text(f"SELECT * FROM post_transfers({_ARGUMENTS})")  # noqa: S608  a constant
_POST_MANY: Final = text(f"SELECT * FROM post_many_transfers({_ARGUMENTS})")  # noqa: S608  a constant
_FEW: Final = 20  # transfers, for which a plan that is made once is as good
_FIELDS: Final = tuple(name for name in kinds.LEDGER_TRANSFERS.fields if name != "entries")
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
        return bool(await self.post_many([transfer]))

    async def post_many(self, transfers: Sequence[Transfer]) -> frozenset[str]:
        values: dict[str, list[object]] = {
            name: [getattr(transfer, name) for transfer in transfers] for name in _FIELDS
        }
        # In the order of their accounts, in which they are locked.
        entries = [
            (transfer.id, transfer.tenant_id, account, amount)
            for transfer in transfers
            for account, amount in sorted(transfer.entries.items())
        ]
        names = ("transfers", "tenants", "accounts", "amounts")
        values |= {name: [entry[place] for entry in entries] for place, name in enumerate(names)}
        statement = _POST if len(transfers) <= _FEW else _POST_MANY
        posted = await self._session.rows(statement, values, of=kinds.LEDGER_TRANSFERS.table)
        return frozenset([row[0] for row in posted])

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
