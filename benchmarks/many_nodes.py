"""Fleets of many nodes in the product's own database, made from one that was enrolled."""

from typing import Final

import asyncpg

from gpucloud_core.nodes.model import NodeAccess
from gpucloud_core.nodes.systems import hgx_h200
from world.market import Market

_NODE: Final = "'nod_' || lpad(n::text, 26, '0')"
_OF: Final = """SELECT copy.* FROM {table} AS t, generate_series($1::int, $2::int) AS n,
    LATERAL {copied} WHERE t.{key} = $3"""
_COLUMNS: Final = """SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute
    WHERE attrelid = $1::text::regclass AND attnum > 0 AND attgenerated = ''"""
_COPIES: Final = (
    ("nodes", "id", f"'id', {_NODE}, 'name', 'node-' || n"),
    (
        "slots",
        "node_id",
        f"'id', 'slt_' || n || '_' || t.index, 'node_id', {_NODE}, 'ssh_host', 'host-' || n",
    ),
    ("node_capacity", "node_id", f"'node_id', {_NODE}"),
)
_KEEP: Final = "CREATE TABLE bench_capacity AS SELECT * FROM node_capacity WHERE node_id = $1"
_CLEAR: Final = (
    "SET session_replication_role = replica",
    "TRUNCATE claims, allocations, tasks, task_events, state_changes, outbox CASCADE",
    "SET session_replication_role = origin",
    "UPDATE holds SET state = 'voided', closed_at = now() WHERE state = 'open'",
    "UPDATE claimed_slots SET mask = 0 WHERE mask <> 0",
    "UPDATE slots SET state = 'available' WHERE state <> 'available'",
    """UPDATE node_capacity AS c SET free_mask = c.approved_mask, version = c.version + 1,
       free_vcpus = b.free_vcpus, free_memory_mib = b.free_memory_mib
       FROM bench_capacity AS b WHERE c.free_mask <> c.approved_mask""",
)


class Fleet:
    """The nodes of one database, as many as were asked for."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._first = ""
        self.nodes = 0

    async def open(self, market: Market) -> None:
        """Enroll the first node, which all others are copies of."""
        access = NodeAccess(host="n", port=22, username="g", host_key="k", credential="c")
        endpoints = [(f"host-0-{index}", 22) for index in range(8)]
        self._first = await market.enroll("first", hgx_h200(seed="first"), access, endpoints)
        await self._connection.execute(_KEEP.replace("$1", f"'{self._first}'"))
        self.nodes = 1

    async def grow(self, nodes: int) -> None:
        for table, key, changes in _COPIES:
            columns = await self._connection.fetchval(_COLUMNS, table)
            copied = f"jsonb_populate_record(t, jsonb_build_object({changes})) AS copy"
            if table == "slots":
                copied = copied.replace("'host-' || n", "'host-' || n || '-' || t.index")
            source = _OF.format(table=table, key=key, copied=copied)
            await self._connection.execute(
                f"INSERT INTO {table} ({columns}) SELECT {columns} FROM ({source})",
                self.nodes,
                nodes - 1,
                self._first,
            )
        self.nodes = nodes
        await self._connection.execute("ANALYZE")

    async def clear(self) -> None:
        """Take every launch away, and make all capacity free again."""
        for statement in _CLEAR:
            await self._connection.execute(statement)

    async def double_claims(self) -> int:
        """Return how many GPUs are claimed twice."""
        found = await self._connection.fetchval(
            """SELECT count(*) FROM (
                 SELECT c.node_id, s.index FROM claims AS c JOIN slots AS s
                   ON s.node_id = c.node_id AND (c.mask >> s.index::int) & 1 = 1
                 WHERE c.released_at IS NULL GROUP BY 1, 2 HAVING count(*) > 1) AS twice"""
        )
        return int(found)
