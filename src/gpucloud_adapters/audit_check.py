"""``gpucloud audit``: verify the chain of a database or an export, and export it.

The rules are the core's; here rows are streamed past them, in one read-only snapshot, so that the
memory needed does not grow with the trail.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from gpucloud_core.audit.chain import HEAD, Anchor, ChainHead, read_anchors
from gpucloud_core.audit.export import export_line, read_link
from gpucloud_core.audit.verify import ChainCheck, Link, Verdict
from gpucloud_core.kernel.audit import FACTS, AuditRow, content_hash
from gpucloud_core.kernel.errors import DomainError, ErrorKind, ValidationFailed

if TYPE_CHECKING:
    import asyncpg

_AT_ONCE: Final = 2000
_COLUMNS: Final = ("id", "at", *FACTS, "content_hash", "seq", "chain_hash")
_SELECT: Final = f"SELECT {', '.join(_COLUMNS)} FROM audit_rows"  # noqa: S608  names of ours
_SEALED: Final = f"{_SELECT} WHERE seq IS NOT NULL ORDER BY seq"
_UNSEALED: Final = f"{_SELECT} WHERE seq IS NULL ORDER BY written_xid, written"


class AuditUnreadable(DomainError):
    """The audit trail cannot be read."""

    code = "audit_unreadable"
    kind = ErrorKind.UNAVAILABLE
    next_step = "Check the address, the file, and that the database is migrated."


def verify(*, database_url: str | None, export: Path | None, anchors: Path | None) -> Verdict:
    """Verify an export, or else a database, against the anchors in a file.

    Raises:
        AuditUnreadable: neither is named, or the database does not answer.
        ValidationFailed: a file does not hold what it should.
        OSError: a file cannot be read.
    """
    known = _read_anchors(anchors)
    if export is not None:
        return verify_export(export, known)
    return asyncio.run(verify_database(_named(database_url), known))


def report(verdict: Verdict) -> list[str]:
    """Return what was found, in words."""
    lines = [f"{verdict.sealed} rows sealed, {verdict.unsealed} not sealed yet"]
    if verdict.anchored:
        lines.append(f"anchored up to row {verdict.anchored}")
    else:
        lines.append("no anchors: a chain made anew, or cut at its end, would not be noticed")
    fault = verdict.fault
    if fault is None:
        return [*lines, "everything is as it was recorded"]
    place = "not sealed yet" if fault.seq is None else f"row {fault.seq}"
    name = f" ({fault.row_id})" if fault.row_id else ""
    return [*lines, f"{fault.what}: {place}{name}: {fault.words}"]


def verify_export(path: Path, anchors: Iterable[Anchor] = ()) -> Verdict:
    """Verify rows exported as JSON lines.

    Raises:
        ValidationFailed: a line is no row; its number is said.
    """
    check = ChainCheck(anchors)
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                check.take(read_link(line))
            except ValidationFailed as bad:
                raise ValidationFailed(f"{path}, line {number}: {bad.detail}") from None
    return check.finish()


async def verify_database(database_url: str, anchors: Iterable[Anchor] = ()) -> Verdict:
    """Verify the rows of a database as they are at one instant.

    Raises:
        AuditUnreadable: the database does not answer, or has no such table.
    """
    check = ChainCheck(anchors)
    async with _snapshot(database_url) as connection:
        head = await connection.fetchrow("SELECT * FROM audit_chain WHERE id = $1", HEAD)
        await _stream(connection, lambda row: check.take(_link(row)))
    return check.finish(ChainHead(**head) if head else None)


def export(*, database_url: str | None, out: TextIO) -> None:
    """Write every row as a JSON line, sealed ones in the order of the chain.

    Raises:
        AuditUnreadable: no database is named, or it does not answer.
    """

    async def write() -> None:
        async with _snapshot(_named(database_url)) as connection:
            await _stream(connection, lambda row: out.write(export_line(_row(row)) + "\n"))

    asyncio.run(write())


def _named(database_url: str | None) -> str:
    if database_url is None:
        raise AuditUnreadable("Name a database, or set DATABASE_URL.")
    return database_url


@asynccontextmanager
async def _snapshot(database_url: str) -> "AsyncIterator[asyncpg.Connection]":
    """Open a read-only transaction that sees one instant, and every tenant."""
    import asyncpg  # noqa: PLC0415  an export is verified without the server's packages

    try:
        connection = await asyncpg.connect(database_url, statement_cache_size=0)
    except (OSError, ValueError, asyncpg.PostgresError) as error:
        raise AuditUnreadable(f"The database does not let us in: {error}") from error
    try:
        await connection.set_type_codec(
            "jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads
        )
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute("SET LOCAL ROLE gpucloud_platform")
            await connection.execute("SET LOCAL statement_timeout = 0")
            yield connection
    except asyncpg.PostgresError as error:
        raise AuditUnreadable(f"The audit trail cannot be read: {error}") from error
    finally:
        await connection.close()


async def _stream(connection: "asyncpg.Connection", take: Callable[[Any], object]) -> None:
    for statement in (_SEALED, _UNSEALED):
        cursor = await connection.cursor(statement)
        while rows := await cursor.fetch(_AT_ONCE):
            for row in rows:
                take(row)


def _link(row: Any) -> Link:
    row_id, at, *facts, stored, seq, chained = row
    true_hash = content_hash(row_id, at, dict(zip(FACTS, facts, strict=True)))
    return Link(row_id, seq, stored, chained, true_hash)


def _row(row: Any) -> AuditRow:
    return AuditRow(**dict(row))


def _read_anchors(path: Path | None) -> tuple[Anchor, ...]:
    if path is None:
        return ()
    try:
        with path.open(encoding="utf-8") as lines:
            return read_anchors(lines)
    except ValidationFailed as bad:
        raise ValidationFailed(f"{path}: {bad.detail}") from None
