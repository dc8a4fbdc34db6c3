"""The product over a real database that holds a large tenant, for benchmarks.

One tenant owns everything, so no page gets away with little to read. One row of each kind is made
by the product's own code; SQL then makes many of it. Seeding stops at its time limit, and says how
far it came.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg
from litestar import Litestar

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from embedded_servers import free_port, running
from gpucloud_adapters.bootstrap import make_container
from gpucloud_adapters.embedded.postgres import DATABASE, SUPERUSER, EmbeddedPostgres
from gpucloud_adapters.embedded.valkey import EmbeddedValkey
from gpucloud_adapters.memory.cloud import standard_sku
from gpucloud_adapters.postgres import migrate
from gpucloud_adapters.postgres.engine import create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_adapters.settings import Settings
from gpucloud_core.allocations.model import AllocationState
from gpucloud_core.kernel.ids import AllocationId, ProjectId, TenantId, UserId
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.metering.model import UsageSegment
from gpucloud_core.work.model import TaskStatus
from gpucloud_web.app import build
from row_builders import a_capacity, a_claim, a_node, a_slot, a_task, an_allocation

NODES: Final = 1_000
ALLOCATIONS: Final = 20_000
USAGE: Final = 2_000_000
BATCH: Final = 100_000
ORIGIN: Final = "http://127.0.0.1:8000"
START: Final = datetime.now(UTC) - timedelta(days=700)
FOLDER: Final = "/var/tmp"
NODE_ID: Final = "nod_{:026}"
ALLOCATION_ID: Final = "alc_{:026}"
TASK_ID: Final = "tsk_{:026}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeded:
    """What is there: what to look at, and how many rows of each kind."""

    node: str
    allocation: str
    task: str
    rows: dict[str, int]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Where the database is, and the environment of the product over it."""

    postgres: EmbeddedPostgres
    environment: dict[str, str]

    @property
    def superuser_url(self) -> str:
        return self.postgres.url_of(DATABASE, SUPERUSER)


@contextmanager
def servers() -> Iterator[Servers]:
    """Run PostgreSQL and Valkey in a folder of their own, at the newest schema."""
    with tempfile.TemporaryDirectory(prefix="gpucloud-bench-", dir=FOLDER) as folder:
        home = Path(folder)
        postgres = EmbeddedPostgres(home=home / "postgres", port=free_port(), durable=False)
        valkey = EmbeddedValkey(home=home / "valkey", port=free_port(), durable=False)
        with (
            running(postgres.command(), home / "postgres.log"),
            running(valkey.command(), home / "valkey.log"),
        ):
            asyncio.run(postgres.create())
            migrate.upgrade(postgres.url)
            yield Servers(
                postgres=postgres,
                environment={
                    "DATABASE_URL": postgres.url,
                    "REDIS_URL": valkey.url,
                    "STRIPE_SECRET_KEY": "sk_test_none",
                    "STRIPE_WEBHOOK_SECRET": "whsec_none",
                    "STRIPE_API_BASE": "http://127.0.0.1:9",
                    "GPUCLOUD_SIMULATED": "1",
                    "GPUCLOUD_PUBLIC_URL": ORIGIN,
                    "GPUCLOUD_HOME": str(home / "home"),
                },
            )


def application(servers: Servers) -> Litestar:
    """Return the product over the servers."""
    settings = Settings.of(servers.environment)
    return build(settings, make_container(settings))


async def seed(
    servers: Servers,
    username: str,
    *,
    limit_seconds: float,
    usage_rows: int = USAGE,
    operator: str = "",
) -> Seeded:
    """Fill the database for the tenant of ``username``, who has signed up, as has ``operator``."""
    begun = time.monotonic()
    connection = await asyncpg.connect(servers.superuser_url)
    await connection.execute("SET session_replication_role = replica")
    user, tenant, project = await connection.fetchrow(
        "SELECT u.id, m.tenant_id, p.id FROM users u JOIN tenant_members m ON m.user_id = u.id "
        "JOIN projects p ON p.tenant_id = m.tenant_id WHERE u.username_key = $1",
        username,
    )
    await _templates(servers, user, tenant, project)
    for each in _FLEET:
        await each.make(connection, NODES)
    await connection.execute(_OPERATOR, operator)
    for each in _WORK:
        await each.make(connection, ALLOCATIONS)
    usage = 0
    while usage < usage_rows and time.monotonic() - begun < limit_seconds:
        await _USAGE.make(connection, usage, usage + BATCH, ALLOCATIONS)
        usage += BATCH
    await connection.execute("ANALYZE")
    await connection.close()
    return Seeded(
        node=NODE_ID.format(20),
        allocation=ALLOCATION_ID.format(20),
        task=TASK_ID.format(20),
        rows={"nodes": NODES, "allocations": ALLOCATIONS, "usage rows": usage},
        seconds=time.monotonic() - begun,
    )


async def _templates(servers: Servers, user: str, tenant: str, project: str) -> None:
    """Store one row of each kind, as the product stores it."""
    engine = create_engine(servers.environment["DATABASE_URL"])
    sku, price, image = standard_sku(START, micros_per_gpu_hour=3_290_000)
    node = a_node(id="nod_template")
    claim = a_claim(
        TenantId(tenant),
        node.id,
        0b11,
        id="clm_template",
        allocation_id=AllocationId("alc_template"),
    )
    task = replace(
        a_task(TenantId(tenant), ProjectId(project), id="tsk_template"),
        status=TaskStatus.SUCCEEDED,
        finished_at=START,
    )
    allocation = an_allocation(
        claim,
        task,
        UserId(user),
        id="alc_template",
        sku_id=sku.id,
        state=AllocationState.RELEASED,
        active_at=START,
        billing_stopped_at=START + timedelta(hours=2),
        ended_at=START + timedelta(hours=2),
    )
    segment = UsageSegment(
        id="seg_template",
        tenant_id=TenantId(tenant),
        project_id=ProjectId(project),
        allocation_id=allocation.id,
        sku_id=sku.id,
        gpu_count=2,
        rate_micros_per_hour=allocation.rate_micros_per_hour,
        currency="USD",
        started_at=START,
        ended_at=START + timedelta(minutes=50),
        settled_until=START + timedelta(minutes=50),
    )
    async with PostgresTransactions(engine).begin(Scope.platform()) as unit:
        await unit.skus.add(sku)
        await unit.prices.add(price)
        await unit.os_images.add(image)
        await unit.nodes.add(node)
        await unit.slots.add(a_slot(node.id, 0, id="slt_template"))
        await unit.fleet.put(a_capacity(node.id))
        await unit.tasks.add(task)
        await unit.claims.add(claim)
        await unit.allocations.add(allocation)
        await unit.usage_segments.add(segment)
    await engine.dispose()


class Many(NamedTuple):
    """Makes many rows of a table's template; columns that the database computes are left to it."""

    table: str
    changes: str  # of jsonb_build_object
    source: str = "generate_series(1, $1) g"
    template: str = "t.id LIKE '%_template'"

    async def make(self, connection: asyncpg.Connection, *given: int) -> None:
        columns = await connection.fetchval(
            "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute "
            "WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped "
            "AND attgenerated = ''",
            self.table,
        )
        rows = (
            f"SELECT (jsonb_populate_record(t, jsonb_build_object({self.changes}))).* "
            f"FROM {self.table} t, {self.source} WHERE {self.template}"
        )
        await connection.execute(
            f"INSERT INTO {self.table} ({columns}) SELECT {columns} FROM ({rows})", *given
        )


_NODE: Final = "'nod_' || lpad(g::text, 26, '0')"
_FLEET: Final = (
    Many("node_capacity", f"'node_id', {_NODE}", template="t.node_id = 'nod_template'"),
    Many("nodes", f"'id', {_NODE}, 'name', 'hgx-' || g"),
    Many(
        "slots",
        f"'id', 'slt_' || lpad((g * 8 + s)::text, 26, '0'), 'node_id', {_NODE}, 'index', s, "
        "'gpu_uuid', 'GPU-' || s, 'numa', s / 4, 'ssh_host', 'hgx-' || g, 'ssh_port', 2200 + s",
        "generate_series(1, $1) g, generate_series(0, 7) s",
    ),
)
_OPERATOR: Final = "UPDATE users SET platform_role = 'admin' WHERE username_key = $1"
_ALLOCATION: Final = "'alc_' || lpad({}::text, 26, '0')"
_RUNS: Final = "g % 20 = 0"
_WORK: Final = (
    Many("tasks", "'id', 'tsk_' || lpad(g::text, 26, '0')"),
    Many(
        "allocations",
        f"'id', {_ALLOCATION.format('g')}, 'claim_id', 'clm_' || g, 'name', 'run-' || g, "
        "'task_id', 'tsk_' || lpad(g::text, 26, '0'), "
        "'node_id', 'nod_' || lpad((g % 1000 + 1)::text, 26, '0'), "
        f"'state', CASE WHEN {_RUNS} THEN 'active' WHEN g % 97 = 0 THEN 'failed' "
        "ELSE 'released' END, "
        f"'billing_stopped_at', CASE WHEN NOT {_RUNS} THEN t.billing_stopped_at END, "
        f"'ended_at', CASE WHEN NOT {_RUNS} THEN t.ended_at END",
    ),
    Many(
        "usage_segments",
        f"'id', 'seg_r' || lpad(g::text, 25, '0'), 'allocation_id', {_ALLOCATION.format('g')}, "
        "'started_at', now() - interval '30 minutes', 'ended_at', NULL, "
        "'settled_until', now() - interval '30 minutes'",
        template=f"t.id LIKE '%_template' AND {_RUNS}",
    ),
)
_USAGE: Final = Many(
    "usage_segments",
    "'id', 'seg_' || lpad(g::text, 26, '0'), 'allocation_id', "
    + _ALLOCATION.format("(g % $3 + 1)")
    + ", 'started_at', t.started_at + g * interval '30 seconds', "
    "'ended_at', t.ended_at + g * interval '30 seconds', "
    "'settled_until', t.ended_at + g * interval '30 seconds'",
    "generate_series($1::bigint, $2::bigint - 1) g",
)
