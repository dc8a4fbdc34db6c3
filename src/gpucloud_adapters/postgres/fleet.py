"""The fleet's capacity, changed by functions of the database that see all of it at once.

A node's capacity row is its gate: whoever changes it holds it until its transaction ends. Two
transactions that wait for each other's gates would never end, so a unit waits for a gate only
while every gate it holds belongs to a lower node; otherwise a gate that is held counts as a lost
race.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Text,
    bindparam,
    func,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from gpucloud_adapters.postgres.mapping import row_of_json
from gpucloud_adapters.postgres.session import Session
from gpucloud_adapters.postgres.statements import Equals, Statements
from gpucloud_adapters.stored import kinds
from gpucloud_adapters.stored.invariants import InvariantError
from gpucloud_core.catalog.model import Beside
from gpucloud_core.kernel.errors import Conflict, NotFound
from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.nodes.model import SlotState
from gpucloud_core.placement.model import Claim, NodeCapacity
from gpucloud_core.placement.ports import FleetChanges

CLAIMS: Final = Statements(kinds.CLAIMS)
CAPACITY: Final = Statements(kinds.NODE_CAPACITY)

_table: Final = CAPACITY.mapping.table
_OWN: Final = "node_capacity"
"""What nothing that waits is about: the capacity, the slots and the claims of nodes."""

# Every transaction below the mark had ended when the rows were read, so what it changed was seen.
# Whatever still ran then, or began later, has a number at or above the mark, and so has the row
# it changes: it is read next time, perhaps twice, and never missed. Neither clocks nor the order
# of commits matter.
#
# Few have changed as a rule, and the index says which; the limit keeps the plan to the index.
_CHANGED: Final = """
    SELECT * FROM node_capacity
    WHERE changed_xid >= CAST(CAST(:since AS text) AS xid8) ORDER BY changed_xid
"""
_CHANGES: Final = """
    SELECT CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text),
        (SELECT jsonb_agg(to_jsonb(c)) FROM ({changed}) AS c),
        (SELECT jsonb_agg(to_jsonb(p) ORDER BY p.id) FROM promises AS p WHERE p.pool = :pool)
"""
_A_FEW: Final = 256
_FEW_CHANGES: Final = text(_CHANGES.format(changed=f"{_CHANGED} LIMIT {_A_FEW}"))
_ALL_CHANGES: Final = text(_CHANGES.format(changed=_CHANGED))
_changed: Final = row_of_json(kinds.NODE_CAPACITY)
_promise: Final = row_of_json(kinds.PROMISES)
# One statement: the slots are taken, and only where they are, the claim is written.
TAKE: Final = (
    insert(CLAIMS.mapping.table)
    .from_select(
        list(kinds.CLAIMS.fields),
        select(
            *(
                bindparam(name, type_=CLAIMS.columns[name].type).label(name)
                for name in kinds.CLAIMS.fields
            )
        ).where(
            func.take_slots(
                bindparam("node_id", type_=Text),
                bindparam("mask", type_=BigInteger),
                bindparam("whole_node", type_=Boolean),
                bindparam("vcpus", type_=BigInteger),
                bindparam("memory_mib", type_=BigInteger),
                bindparam("claimed_at", type_=DateTime(timezone=True)),
                bindparam("may_wait", type_=Boolean),
                bindparam("beside", type_=Text),
            )
        ),
    )
    .returning(CLAIMS.columns.id)
)
_MOVE: Final = text("SELECT move_slots(:claim, :state, :reason)")
_GIVE_BACK: Final = text("SELECT give_back_slots(:claim, :at)")
_LOWEST: Final = (
    CAPACITY.select.where(
        _table.c.pool == bindparam("pool", type_=Text),
        _table.c.sellable,
        _table.c.free_mask != literal_column("0"),
        text("""EXISTS (
            SELECT FROM unnest(CAST(:masks AS bigint[])) AS m
            WHERE free_mask & m = m AND has_beside(disk_mask, nic_mask, m, :beside)
        )"""),
    )
    .order_by(_table.c.node_id)
    .limit(bindparam("row_limit", type_=BigInteger))
    .with_for_update(skip_locked=True, key_share=True)
)
_PUT: Final = update(_table).where(
    _table.c.node_id == bindparam("row_key", type_=Text),
    _table.c.version == bindparam("read_version", type_=BigInteger),
)
_ADD: Final = insert(_table).on_conflict_do_nothing().returning(_table.c.node_id)


class PostgresFleet:
    """One per unit: it knows which gates the unit holds."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._highest_gate = ""

    async def changes(self, since: str | None, *, promised_in: str = "") -> FleetChanges:
        given = {"since": since or "0", "pool": promised_in}
        ((mark, rows, promises),) = await self._session.rows(_FEW_CHANGES, given, of=_OWN)
        if rows is not None and len(rows) == _A_FEW:
            ((mark, rows, promises),) = await self._session.rows(_ALL_CHANGES, given, of=_OWN)
        changed = sorted(map(_changed, rows or ()), key=lambda row: row.node_id)
        return FleetChanges(mark, tuple(changed), tuple(map(_promise, promises or ())))

    async def take(self, claim: Claim, *, may_wait: bool = True) -> bool:
        values = CLAIMS.mapping.encode(claim)
        may_wait = may_wait and claim.node_id > self._highest_gate
        values["may_wait"] = may_wait
        taken = await self._session.value(TAKE, values, of=_OWN) is not None
        if taken:
            self._note_gate(claim.node_id)
        return taken

    async def set_slots(self, claim: Claim, state: str, reason: str = "") -> None:
        values = {"claim": claim.id, "state": SlotState(state).value, "reason": reason}
        if not await self._session.value(_MOVE, values, of=_OWN):
            raise NotFound("This claim is not open.")

    async def give_back(self, claim: Claim) -> None:
        if claim.released_at is None:
            raise InvariantError(f"{claim.id} is given back without an instant")
        values = {"claim": claim.id, "at": claim.released_at}
        if not await self._session.value(_GIVE_BACK, values, of=_OWN):
            raise NotFound("There is no such claim.")
        self._note_gate(claim.node_id)

    async def put(self, capacity: NodeCapacity) -> None:
        if self._session.scope.tenant_id is not None:
            raise InvariantError("a tenant's unit may not change what a node offers")
        values = CAPACITY.mapping.encode(capacity)
        changed = {**values, "version": capacity.version + 1}
        keys = {"row_key": changed.pop("node_id"), "read_version": capacity.version}
        self._note_gate(capacity.node_id)
        if await self._session.change(_PUT, {**changed, **keys}, of=_OWN):
            return
        if not await self._session.rows(_ADD, values, of=_OWN):
            raise Conflict("The node's capacity changed since it was read.")

    async def get(self, node_id: str) -> NodeCapacity | None:
        found = await self._session.first(CAPACITY.get, {"row_key": node_id}, of=_OWN)
        return None if found is None else _capacity(found)

    async def get_any(self, node_ids: Sequence[NodeId]) -> Mapping[NodeId, NodeCapacity]:
        statement = CAPACITY.find_any("node_id", or_null=False, equals=Equals((), ()))
        found = await self._session.rows(statement, {"any_value": list(node_ids)})
        return {row.node_id: row for row in map(_capacity, found)}

    async def lock(self, node_id: str) -> NodeCapacity | None:
        if self._session.scope.tenant_id is not None:
            raise InvariantError("a tenant's unit may not change what a node offers")
        found = await self._session.first(CAPACITY.lock, {"row_key": node_id}, of=_OWN)
        self._note_gate(NodeId(node_id))
        return None if found is None else _capacity(found)

    async def lowest(
        self, *, pool: str, masks: Sequence[int], beside: Beside = Beside.NOTHING, limit: int
    ) -> Sequence[NodeCapacity]:
        wanted = {"pool": pool, "masks": list(masks), "beside": beside.value, "row_limit": limit}
        found = await self._session.rows(_LOWEST, wanted, of=_OWN)
        rows = [_capacity(row) for row in found]
        for row in rows:
            self._note_gate(row.node_id)
        return rows

    def _note_gate(self, node_id: str) -> None:
        self._highest_gate = max(self._highest_gate, node_id)


def _capacity(values: Sequence[Any]) -> NodeCapacity:
    return CAPACITY.mapping.decode(values)
