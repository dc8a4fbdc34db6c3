"""The audit chain in PostgreSQL: made by any number of writers and sealers, tampered with by a
superuser, and verified from outside.

Seen to fail when rows were sealed as soon as they were visible, past a transaction that was still
open, and when the trigger let a place be taken twice.
"""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from datetime import timedelta
from io import StringIO
from pathlib import Path

import asyncpg
import pytest

from contracts.stores import PLATFORM, Household, settle
from gpucloud_adapters import audit_check, cli
from gpucloud_adapters.audit_anchors import FileAnchors, anchor_file
from gpucloud_adapters.embedded.postgres import EmbeddedPostgres
from gpucloud_adapters.postgres.engine import create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_core.audit.chain import Anchor, chain_hash
from gpucloud_core.audit.seal import AnchorAudit, SealAudit
from gpucloud_core.audit.verify import Tampering, Verdict
from gpucloud_core.kernel.unit import AuditFact
from raw_postgres import OWNER, PLATFORM_ROLE, commit_as
from row_builders import NOW

ROWS = 12


@pytest.fixture
async def transactions(database_url: str) -> AsyncIterator[PostgresTransactions]:
    engine = create_engine(database_url)
    yield PostgresTransactions(engine)
    await engine.dispose()


@pytest.fixture
async def home(transactions: PostgresTransactions) -> Household:
    return await settle(transactions)


@pytest.fixture
def anchors(tmp_path: Path) -> FileAnchors:
    return FileAnchors(anchor_file(tmp_path))


@pytest.fixture
async def superuser(
    postgres_server: EmbeddedPostgres, database_url: str
) -> AsyncIterator[asyncpg.Connection]:
    """Somebody who can write anything: the walls are theirs to switch off, as here."""
    name = database_url.rsplit("/", 1)[1]
    address = postgres_server.superuser_url.rsplit("/", 1)[0]
    connection = await asyncpg.connect(f"{address}/{name}")
    await connection.execute("SET session_replication_role = replica")
    yield connection
    await connection.close()


async def record(transactions: PostgresTransactions, home: Household, *targets: str) -> None:
    async with transactions.begin(home.scope) as unit:
        for target in targets:
            await unit.audit(
                AuditFact(
                    action="key.add",
                    target=target,
                    tenant_id=home.tenant.id,
                    actor="Zoë",
                    changes={"b": [1, None], "a": ["Größe", {"x": True}]},
                )
            )


@pytest.fixture
async def trail(
    transactions: PostgresTransactions, home: Household, anchors: FileAnchors
) -> PostgresTransactions:
    """Twelve rows, sealed; anchors at the fourth and at the last."""
    seal = SealAudit(transactions=transactions)
    anchor = AnchorAudit(transactions=transactions, anchors=anchors)
    for number in range(ROWS):
        await record(transactions, home, f"row {number + 1}")
        if number in {3, ROWS - 1}:
            await seal()
            await anchor()
    return transactions


async def verdict_of(database_url: str, anchors: FileAnchors | None = None) -> Verdict:
    path = anchors.path if anchors else None
    return await asyncio.to_thread(
        audit_check.verify, database_url=database_url, export=None, anchors=path
    )


class TestSealing:
    async def test_is_verified_from_outside(
        self, trail: PostgresTransactions, home: Household, database_url: str, anchors: FileAnchors
    ) -> None:
        await record(trail, home, "not sealed yet")

        verdict = await verdict_of(database_url, anchors)

        assert verdict == Verdict(sealed=ROWS, unsealed=1, anchored=ROWS, fault=None)

    async def test_waits_for_a_transaction_that_may_still_commit_an_earlier_row(
        self, transactions: PostgresTransactions, home: Household, database_url: str
    ) -> None:
        seal = SealAudit(transactions=transactions)
        written, finish = asyncio.Event(), asyncio.Event()

        async def slow() -> None:
            async with transactions.begin(home.scope) as unit:
                await unit.audit(AuditFact(action="x", target="slow", tenant_id=home.tenant.id))
                await unit.write_ahead()
                written.set()
                await finish.wait()

        early = asyncio.create_task(slow())
        await written.wait()
        await record(transactions, home, "quick")
        assert await seal() == 0
        finish.set()
        await early

        assert await seal() == 2
        async with transactions.begin(PLATFORM) as unit:
            rows = await unit.audit_rows.find()
        assert {row.target: row.seq for row in rows} == {"slow": 1, "quick": 2}

    async def test_makes_one_chain_of_many_writers_and_sealers(
        self, transactions: PostgresTransactions, home: Household, database_url: str
    ) -> None:
        done = asyncio.Event()
        sealed = 0

        async def write(name: str) -> None:
            for number in range(12):
                await record(transactions, home, f"{name} {number}", f"{name} {number}b")

        async def keep_sealing() -> None:
            nonlocal sealed
            seal = SealAudit(transactions=transactions)
            while not done.is_set():
                try:
                    sealed += await seal(limit=7)
                except Exception:  # noqa: BLE001  the very first of several may be refused
                    await asyncio.sleep(0)

        sealers = [asyncio.create_task(keep_sealing()) for _ in range(3)]
        await asyncio.gather(*(write(f"writer {number}") for number in range(4)))
        done.set()
        await asyncio.gather(*sealers)
        while await SealAudit(transactions=transactions)():
            pass

        verdict = await verdict_of(database_url)
        assert verdict == Verdict(sealed=96, unsealed=0, anchored=0, fault=None)

    @pytest.mark.parametrize(
        "change",
        [
            "seq = seq + 100",
            "seq = NULL, chain_hash = NULL",
            "chain_hash = repeat('f', 64)",
        ],
    )
    async def test_takes_a_place_once(
        self, trail: PostgresTransactions, home: Household, database_url: str, change: str
    ) -> None:
        connection = await asyncpg.connect(database_url)
        statement = (f"UPDATE audit_rows SET {change}",)  # noqa: S608  from above

        for role in (PLATFORM_ROLE, OWNER):
            with pytest.raises(asyncpg.CheckViolationError, match="append-only"):
                await commit_as(connection, role, home.tenant.id, statement)
        await connection.close()

    async def test_changes_nothing_else_while_sealing(
        self, transactions: PostgresTransactions, home: Household, database_url: str
    ) -> None:
        await record(transactions, home, "a")
        connection = await asyncpg.connect(database_url)
        change = "UPDATE audit_rows SET actor = 'm', seq = 1, chain_hash = 'f'"

        with pytest.raises(asyncpg.CheckViolationError, match="append-only"):
            await commit_as(connection, OWNER, home.tenant.id, (change,))
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await commit_as(connection, PLATFORM_ROLE, "", (change,))
        await connection.close()


class TestASuperuser:
    """Can do anything to the database, and cannot hide it."""

    async def found(
        self, database_url: str, anchors: FileAnchors | None = None
    ) -> tuple[str, int | None]:
        fault = (await verdict_of(database_url, anchors)).fault
        assert fault is not None
        return fault.what, fault.seq

    @pytest.mark.parametrize(
        ("statements", "what", "seq"),
        [
            (["UPDATE audit_rows SET actor = 'm' WHERE seq = 5"], Tampering.EDITED, 5),
            (["UPDATE audit_rows SET changes = '{}' WHERE seq = 1"], Tampering.EDITED, 1),
            (
                ["UPDATE audit_rows SET at = at - interval '1 hour' WHERE seq = 12"],
                Tampering.EDITED,
                12,
            ),
            (["DELETE FROM audit_rows WHERE seq IN (6, 7)"], Tampering.DELETED, 6),
            (
                [
                    "DELETE FROM audit_rows WHERE seq = 6",
                    "UPDATE audit_rows SET seq = -seq WHERE seq > 6",
                    "UPDATE audit_rows SET seq = -seq - 1 WHERE seq < 0",
                ],
                Tampering.DELETED,
                6,
            ),
            (
                [
                    "UPDATE audit_rows SET seq = -seq WHERE seq >= 4",
                    """INSERT INTO audit_rows SELECT 'aud_forged', at, action, target, result,
                        tenant_id, project_id, user_id, 'm', via, correlation_id, ip, user_agent,
                        changes, content_hash, 4, chain_hash FROM audit_rows WHERE seq = 3""",
                    "UPDATE audit_rows SET seq = 1 - seq WHERE seq < 0",
                ],
                Tampering.EDITED,  # forged without its hash; with it, see the next test
                4,
            ),
            (
                [
                    "UPDATE audit_rows SET seq = -3 WHERE seq = 3",
                    "UPDATE audit_rows SET seq = 3 WHERE seq = 9",
                    "UPDATE audit_rows SET seq = 9 WHERE seq = -3",
                ],
                Tampering.MOVED,
                3,
            ),
            (["DELETE FROM audit_rows WHERE seq > 10"], Tampering.TRUNCATED, 11),
            (
                [
                    "DELETE FROM audit_rows WHERE seq > 10",
                    """UPDATE audit_chain SET seq = 10, chain_hash =
                        (SELECT chain_hash FROM audit_rows WHERE seq = 10)""",
                ],
                Tampering.TRUNCATED,
                11,
            ),
            (["DELETE FROM audit_rows", "DELETE FROM audit_chain"], Tampering.TRUNCATED, 1),
        ],
    )
    async def test_is_found_out(
        self,
        trail: PostgresTransactions,
        superuser: asyncpg.Connection,
        database_url: str,
        anchors: FileAnchors,
        statements: list[str],
        what: Tampering,
        seq: int,
    ) -> None:
        await superuser.execute("ALTER TABLE audit_rows DROP CONSTRAINT audit_rows_seq_check")
        for statement in statements:
            await superuser.execute(statement)

        assert await self.found(database_url, anchors) == (what, seq)

    async def test_is_found_out_after_an_insert_with_a_right_content_hash(
        self,
        trail: PostgresTransactions,
        superuser: asyncpg.Connection,
        database_url: str,
        home: Household,
    ) -> None:
        await superuser.execute("ALTER TABLE audit_rows DROP CONSTRAINT audit_rows_seq_check")
        await record(trail, home, "forged")
        await superuser.execute("UPDATE audit_rows SET seq = -seq WHERE seq >= 4")
        await superuser.execute(
            "UPDATE audit_rows SET seq = 4, chain_hash = $1 WHERE target = 'forged'", "f" * 64
        )
        await superuser.execute("UPDATE audit_rows SET seq = 1 - seq WHERE seq < 0")

        assert await self.found(database_url) == (Tampering.INSERTED, 4)

    async def test_cannot_write_the_whole_chain_anew(
        self,
        trail: PostgresTransactions,
        superuser: asyncpg.Connection,
        database_url: str,
        anchors: FileAnchors,
    ) -> None:
        previous = "0" * 64
        await superuser.execute("DELETE FROM audit_rows WHERE seq = 2")
        rows = await superuser.fetch("SELECT id, content_hash FROM audit_rows ORDER BY seq")
        for seq, (row_id, content) in enumerate(rows, start=1):
            previous = chain_hash(previous, content, seq)
            await superuser.execute(
                "UPDATE audit_rows SET seq = $2, chain_hash = $3 WHERE id = $1",
                row_id,
                seq,
                previous,
            )
        await superuser.execute(
            "UPDATE audit_chain SET seq = $1, chain_hash = $2", len(rows), previous
        )

        assert (await verdict_of(database_url)).fault is None, "only anchors tell"
        assert await self.found(database_url, anchors) == (Tampering.REPLACED, 4)


class TestCommand:
    async def test_verifies_an_export_as_it_does_the_database(
        self,
        trail: PostgresTransactions,
        database_url: str,
        anchors: FileAnchors,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        out = StringIO()
        await asyncio.to_thread(audit_check.export, database_url=database_url, out=out)
        kept = tmp_path / "audit.jsonl"
        kept.write_text(out.getvalue(), encoding="utf-8")
        arguments = ["audit", "verify", "--anchors", str(anchors.path)]

        from_file = await asyncio.to_thread(cli.run, [*arguments, "--export", str(kept)], {})
        in_file = capsys.readouterr().out
        from_database = await asyncio.to_thread(cli.run, [*arguments, database_url], {})

        assert (from_file, from_database) == (0, 0)
        assert in_file == capsys.readouterr().out
        assert "12 rows sealed, 0 not sealed yet" in in_file
        assert "anchored up to row 12" in in_file

        rows = [json.loads(line) for line in out.getvalue().splitlines()]
        rows[6]["result"] = "refused"
        kept.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        assert cli.run([*arguments, "--export", str(kept)], {}) == 1
        assert f"edited: row 7 ({rows[6]['id']})" in capsys.readouterr().out

    def test_says_what_it_cannot_read(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        home = {"GPUCLOUD_HOME": str(tmp_path)}
        other = tmp_path / "other.jsonl"
        other.write_text("{}\n")

        assert cli.run(["audit", "verify"], home) == 2
        assert cli.run(["audit", "verify", "--export", str(tmp_path / "none")], home) == 2
        assert cli.run(["audit", "verify", "--export", str(other)], home) == 2
        assert cli.run(["audit", "export", "postgresql://127.0.0.1:9/none"], home) == 2
        said = capsys.readouterr().err
        assert "Name a database" in said
        assert "line 1: This line is not an exported audit row." in said
        assert "The database does not let us in" in said


class TestFileAnchors:
    async def test_keep_lines_that_only_we_may_read(self, anchors: FileAnchors) -> None:
        first = Anchor(seq=1, chain_hash="a" * 64, at=NOW)
        second = Anchor(seq=2, chain_hash="b" * 64, at=NOW + timedelta(minutes=1))
        assert await anchors.last() is None

        await anchors.keep(first)
        await anchors.keep(second)

        assert await anchors.last() == second
        assert len(anchors.path.read_text().splitlines()) == 2
        assert stat.S_IMODE(anchors.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(anchors.path.parent.stat().st_mode) == 0o700

    async def test_go_on_after_a_line_that_a_crash_cut_off(self, anchors: FileAnchors) -> None:
        first = Anchor(seq=1, chain_hash="a" * 64, at=NOW)
        second = Anchor(seq=2, chain_hash="b" * 64, at=NOW)
        await anchors.keep(first)
        with anchors.path.open("a") as file:
            file.write('{"seq":2,"chain_ha')
        assert await anchors.last() == first

        await anchors.keep(second)

        assert await anchors.last() == second
