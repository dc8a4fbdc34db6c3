"""Secrets at rest: sealed with AES-256-GCM, in no dump in clear, rotated while everything runs."""

import asyncio
import base64
import stat
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest

from contracts.secret_box import SecretBoxContract
from contracts.stores import PLATFORM
from gpucloud_adapters import cli
from gpucloud_adapters.credentials import BoxedCredentials
from gpucloud_adapters.embedded.postgres import EmbeddedPostgres
from gpucloud_adapters.postgres.engine import create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_adapters.secret_box import AesSecretBox, KeyFile
from gpucloud_core.kernel.secret_box import SecretBox, SecretUnreadable

CANARIES = [f"-----BEGIN CANARY {number:02}----- sparrow" for number in range(40)]


@pytest.fixture
def key_file(tmp_path: Path) -> KeyFile:
    return KeyFile.of(tmp_path)


@pytest.fixture
async def credentials(database_url: str, key_file: KeyFile) -> AsyncIterator[BoxedCredentials]:
    engine = create_engine(database_url)
    yield BoxedCredentials(transactions=PostgresTransactions(engine), box=AesSecretBox(key_file))
    await engine.dispose()


class TestAesSecretBox(SecretBoxContract):
    @pytest.fixture
    def box(self, key_file: KeyFile) -> SecretBox:
        return AesSecretBox(key_file)

    def rotate(self, box: SecretBox) -> None:
        assert isinstance(box, AesSecretBox)
        box.key_file.rotate()


class TestKeyFile:
    def test_is_made_once_though_many_start_at_once(self, key_file: KeyFile) -> None:
        with ThreadPoolExecutor(8) as threads:
            rings = list(threads.map(lambda _: key_file.read(), range(16)))

        assert len({ring.current for ring in rings}) == 1
        assert stat.S_IMODE(key_file.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(key_file.path.parent.stat().st_mode) == 0o700

    def test_keeps_the_old_keys_when_several_rotate_at_once(self, key_file: KeyFile) -> None:
        first = key_file.read()
        with ThreadPoolExecutor(4) as threads:
            names = set(threads.map(lambda _: key_file.rotate(), range(4)))

        ring = key_file.read()
        assert set(ring.keys) == {first.current, *names}
        assert len(names) == 4
        assert ring.keys[first.current] == first.keys[first.current]

    def test_is_refused_when_others_can_read_it(self, key_file: KeyFile) -> None:
        key_file.read()
        key_file.path.chmod(0o640)

        with pytest.raises(SecretUnreadable, match="chmod it to 600"):
            key_file.read()

    @pytest.mark.parametrize(
        "content", ["", "{}", '{"current":"a","keys":{}}', '{"current":"a","keys":{"a":"AA=="}}']
    )
    def test_is_refused_when_it_holds_no_keys(self, key_file: KeyFile, content: str) -> None:
        key_file.read()
        key_file.path.write_text(content)

        with pytest.raises(SecretUnreadable, match="does not hold master keys"):
            key_file.read()


class TestTheDatabase:
    async def dump(self, server: EmbeddedPostgres, database_url: str) -> str:
        """Return every row of every table as text, as a superuser sees it."""
        address = server.superuser_url.rsplit("/", 1)[0]
        connection = await asyncpg.connect(f"{address}/{database_url.rsplit('/', 1)[1]}")
        tables = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace = 'public'::regnamespace"
        )
        rows = [
            row[0]
            for (table,) in tables
            for row in await connection.fetch(f"SELECT t::text FROM {table} AS t")  # noqa: S608  from the catalogue
        ]
        await connection.close()
        return "\n".join(rows)

    async def test_holds_no_canary_in_clear(
        self,
        postgres_server: EmbeddedPostgres,
        database_url: str,
        credentials: BoxedCredentials,
        key_file: KeyFile,
    ) -> None:
        for number, canary in enumerate(CANARIES):
            await credentials.keep(f"node-{number}", canary)

        dumped = await self.dump(postgres_server, database_url)

        assert "credential/node-39/private_key" in dumped, "the dump has the rows"
        keys = key_file.read().keys.values()
        for secret in (*(canary.encode() for canary in CANARIES), *keys):
            for form in (secret, base64.b64encode(secret), secret.hex().encode()):
                assert form.decode("latin-1") not in dumped

    async def test_is_rotated_while_secrets_are_read(
        self, database_url: str, credentials: BoxedCredentials, key_file: KeyFile, tmp_path: Path
    ) -> None:
        for number, canary in enumerate(CANARIES):
            await credentials.keep(f"node-{number}", canary)
        before = key_file.read().current
        done = asyncio.Event()

        async def keep_reading() -> int:
            rounds = 0
            while not done.is_set():
                opened = [await credentials(f"node-{number}") for number in range(0, 40, 5)]
                assert opened == CANARIES[::5]
                rounds += 1
            return rounds

        reading = asyncio.create_task(keep_reading())
        environment = {"GPUCLOUD_HOME": str(tmp_path), "DATABASE_URL": database_url}
        status = await asyncio.to_thread(cli.run, ["keys", "rotate"], environment)
        done.set()

        assert status == 0
        assert await reading > 0
        ring = key_file.read()
        assert ring.current != before
        async with credentials.transactions.begin(PLATFORM) as unit:
            rows = await unit.secrets.find()
        assert {row.key_id for row in rows} == {ring.current}

    async def test_is_worth_nothing_without_its_keys(
        self, credentials: BoxedCredentials, key_file: KeyFile
    ) -> None:
        await credentials.keep("node-1", CANARIES[0])
        key_file.path.unlink()

        with pytest.raises(SecretUnreadable, match="is not here"):
            await credentials("node-1")
