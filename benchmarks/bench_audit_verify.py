"""How long ``gpucloud audit verify`` takes for a million sealed rows in a database.

The rows are made here as the product makes them and copied in, chain and all; what is timed is the
command's own way: one snapshot, every row read, its content hashed anew, and the chain followed.
Beside it stands the least that could be done: the same rows read, and one hash over each.

    python benchmarks/bench_audit_verify.py [--json] [--rows N]
"""

import argparse
import asyncio
import hashlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from time import perf_counter, process_time
from typing import Any, Final

import asyncpg
from grounds import Report, fdatasync_ms, main, servers

from gpucloud_adapters.audit_check import verify_database
from gpucloud_core.audit.chain import HEAD, NOTHING, chain_hash
from gpucloud_core.kernel.audit import audit_row
from gpucloud_core.kernel.ids import TenantId, entity_id
from gpucloud_core.kernel.unit import AuditFact

ROWS: Final = 1_000_000
BAR_SECONDS: Final = 60.0  # for a million
BEGAN: Final = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS: Final = (
    *("id", "at", "action", "target", "result", "tenant_id", "project_id", "user_id", "actor"),
    *("via", "correlation_id", "ip", "user_agent", "changes", "content_hash", "seq", "chain_hash"),
)
READ: Final = (
    "SELECT id, at, action, target, changes::text, content_hash FROM audit_rows ORDER BY seq"
)


def rows(count: int) -> Iterator[tuple[object, ...]]:
    """Give sealed rows as the table has them."""
    previous = NOTHING
    for seq in range(1, count + 1):
        fact = AuditFact(
            action="allocation.release",
            target=entity_id("alc", seq),
            tenant_id=TenantId(entity_id("ten", seq % 1000)),
            actor="ada",
            via="api",
            correlation_id=f"req_{seq:024x}",
            ip="2001:db8::1",
            user_agent="gpucloud-bench/1",
            changes={"state": ["active", "releasing"]},
        )
        row = audit_row(entity_id("aud", seq), BEGAN + timedelta(seconds=seq), fact)
        previous = chain_hash(previous, row.content_hash, seq)
        values: dict[str, Any] = {name: getattr(row, name) for name in COLUMNS}
        values |= {
            "changes": '{"state": ["active", "releasing"]}',
            "seq": seq,
            "chain_hash": previous,
        }
        yield tuple(values.values())


async def fill(superuser_url: str, count: int) -> None:
    connection = await asyncpg.connect(superuser_url)
    await connection.copy_records_to_table("audit_rows", records=rows(count), columns=COLUMNS)
    await connection.execute(
        "INSERT INTO audit_chain SELECT $1, seq, chain_hash, at FROM audit_rows "
        "ORDER BY seq DESC LIMIT 1",
        HEAD,
    )
    await connection.execute("ANALYZE audit_rows")
    await connection.close()


async def least(superuser_url: str) -> float:
    """Return the seconds to read all rows and hash each once."""
    connection = await asyncpg.connect(superuser_url)
    begun = perf_counter()
    async with connection.transaction():
        cursor = await connection.cursor(READ)
        while found := await cursor.fetch(1000):
            for row in found:
                hashlib.sha256(repr(tuple(row)).encode()).hexdigest()
    seconds = perf_counter() - begun
    await connection.close()
    return seconds


def measure(count: int) -> Report:
    report = Report(benchmark="audit_verify")
    with servers() as on:
        asyncio.run(fill(on.superuser_url, count))
        base = asyncio.run(least(on.superuser_url))
        begun, busy = perf_counter(), process_time()
        verdict = asyncio.run(verify_database(on.database_url))
        seconds, busy = perf_counter() - begun, process_time() - busy
        sync = fdatasync_ms(on.folder)
    if verdict.fault is not None or verdict.sealed != count:
        raise SystemExit(f"the rows are not what they were made as: {verdict}")
    report.results.append(
        {
            "rows": count,
            "verify_seconds": round(seconds, 2),
            "verify_cpu_seconds": round(busy, 2),
            "read_and_hash_seconds": round(base, 2),
            "fdatasync_ms": sync,
        }
    )
    report.ratios["verify_to_read_and_hash"] = round(seconds / base, 2)
    report.at_most("seconds_per_million", seconds * ROWS / count, BAR_SECONDS)
    return report


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--rows", type=int, default=ROWS)
    given, rest = parser.parse_known_args()
    sys.argv[1:] = rest
    sys.exit(main(__doc__, lambda: measure(given.rows)))
