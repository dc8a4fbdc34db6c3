"""The embedded servers, and ``gpucloud up`` as a whole, under the worst ways to end.

Seen to fail when the guardian was not told of a child (it outlived its killed parent), when the
pid file of a killed server was left as it was (a stranger with its number kept the new server
from starting), and when initdb ran in the data folder itself (a half-made folder was taken for a
database).
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from children import ENVIRONMENT, PATIENCE, eventually, python
from embedded_servers import free_port, running
from gpucloud_adapters.embedded import postgres as postgres_module
from gpucloud_adapters.embedded.leftovers import began
from gpucloud_adapters.embedded.postgres import DRESSES, Dress, EmbeddedPostgres
from gpucloud_adapters.embedded.valkey import EmbeddedValkey

SMALL_CLOUD: Final = Path(__file__).parent.parent / "small_cloud.py"
DATABASES: Final = ("postgres", "valkey")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to change its user")


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is none of ours, at the head of a group of its own."""
    process = subprocess.Popen(python("import time; time.sleep(600)"), start_new_session=True)
    yield process
    process.kill()
    process.wait()


class TestEmbeddedPostgres:
    @pytest.fixture
    def server(self, tmp_path: Path) -> EmbeddedPostgres:
        return EmbeddedPostgres(home=tmp_path / "postgres", port=free_port())

    async def count(self, server: EmbeddedPostgres, statement: str) -> int:
        connection = await asyncpg.connect(server.url)
        try:
            await connection.execute("CREATE TABLE IF NOT EXISTS note (number int)")
            await connection.execute(statement)
            return int(await connection.fetchval("SELECT count(*) FROM note"))
        finally:
            await connection.close()

    @needs_root
    @pytest.mark.parametrize("dress", DRESSES, ids=lambda dress: dress.prefix[0])
    async def test_keeps_what_it_acknowledged_when_killed(
        self,
        server: EmbeddedPostgres,
        tmp_path: Path,
        dress: Dress,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(postgres_module, "DRESSES", (dress,))
        with running(server.command(), tmp_path / "log") as process:
            await server.create()
            before = await self.count(server, "INSERT INTO note VALUES (1), (2), (3)")
            process.kill()
            process.wait()
        with running(server.command(), tmp_path / "log"):
            after = await self.count(server, "SELECT 1")

        assert (before, after) == (3, 3)

    @needs_root
    async def test_goes_on_when_root_starts_it_in_another_way(
        self, server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for dress in (*DRESSES, *DRESSES):
            monkeypatch.setattr(postgres_module, "DRESSES", (dress,))
            with running(server.command(), tmp_path / "log"):
                await server.create()
                await self.count(server, "INSERT INTO note VALUES (1)")

    async def test_is_not_kept_from_starting_by_a_stranger_with_its_old_number(
        self, server: EmbeddedPostgres, tmp_path: Path, stranger: subprocess.Popen[bytes]
    ) -> None:
        with running(server.command(), tmp_path / "log") as process:
            await server.create()
            process.kill()
            process.wait()
        pid_file = server.home / "data" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]))

        with running(server.command(), tmp_path / "log"):
            assert await self.count(server, "SELECT 1") == 0

    async def test_never_takes_a_half_made_folder_for_a_database(
        self, server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def killed(self: EmbeddedPostgres, dress: Dress, target: Path, _: Path) -> NoReturn:
            (target / "PG_VERSION").write_text("18\n")
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(EmbeddedPostgres, "_run_initdb", killed)
            with pytest.raises(KeyboardInterrupt):
                server.command().before()

        with running(server.command(), tmp_path / "log"):
            await server.create()
            assert await self.count(server, "SELECT 1") == 0

    async def test_lets_nobody_in_without_the_password(
        self, server: EmbeddedPostgres, tmp_path: Path
    ) -> None:
        with running(server.command(), tmp_path / "log"):
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(server.superuser_url.replace("postgres:", "postgres:not-"))
            modes = [file.stat().st_mode & 0o777 for file in server.home.glob("*.password")]

        assert set(modes) == {0o600}


class TestEmbeddedValkey:
    async def test_keeps_what_it_acknowledged_when_killed(self, tmp_path: Path) -> None:
        server = EmbeddedValkey(home=tmp_path / "valkey", port=free_port())
        with running(server.command(), tmp_path / "log") as process:
            async with Redis.from_url(server.url) as client:
                for number in range(50):
                    await client.set(f"key-{number}", number)
            process.kill()
            process.wait()
        with running(server.command(), tmp_path / "log"):
            async with Redis.from_url(server.url) as client:
                assert await client.dbsize() == 50


class SmallCloud:
    """``gpucloud up`` as a process, with small parts."""

    def __init__(self, home: Path, port: int, *, before: tuple[str, ...] = ()) -> None:
        self.home = home
        self.port = port
        self._before = before
        self._output = home.with_name(f"{home.name}-{port}.out")

    def start(self, terminal: int | None = None) -> "subprocess.Popen[bytes]":
        with self._output.open("wb") as output:
            return subprocess.Popen(
                (*self._before, sys.executable, str(SMALL_CLOUD)),
                env=ENVIRONMENT
                | {"GPUCLOUD_HOME": str(self.home), "GPUCLOUD_PORT": str(self.port)},
                stdout=output if terminal is None else terminal,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self._output.read_text()

    async def ready(self) -> None:
        await eventually(lambda: "is ready" in self.said, f"the cloud (see {self._output})")

    def pids(self) -> dict[str, int]:
        rows = json.loads((self.home / "children.json").read_text())
        return {row["name"]: row["pid"] for row in rows}

    def living(self, pids: dict[str, int]) -> list[str]:
        return [name for name, pid in pids.items() if began(pid) is not None]

    async def write_note(self, text: str) -> None:
        database, redis = (self.home / "urls").read_text().splitlines()
        connection = await asyncpg.connect(database)
        await connection.execute("INSERT INTO note VALUES ($1)", text)
        await connection.close()
        async with Redis.from_url(redis) as client:
            await client.rpush("notes", text)

    async def notes(self) -> tuple[list[str], list[str]]:
        database, redis = (self.home / "urls").read_text().splitlines()
        connection = await asyncpg.connect(database)
        rows = await connection.fetch("SELECT text FROM note")
        await connection.close()
        async with Redis.from_url(redis, decode_responses=True) as client:
            kept = [str(note) for note in await client.lrange("notes", 0, -1)]
        return [row["text"] for row in rows], kept


class TestUp:
    @pytest.fixture
    def cloud(self, tmp_path: Path) -> SmallCloud:
        return SmallCloud(tmp_path / "home", free_port())

    @pytest.fixture
    def process(self, cloud: SmallCloud) -> Iterator["subprocess.Popen[bytes]"]:
        process = cloud.start()
        yield process
        process.terminate()
        process.wait(PATIENCE)

    async def notes_once_it_answers(self, cloud: SmallCloud) -> tuple[list[str], list[str]]:
        for _ in range(int(PATIENCE * 10)):
            try:
                return await cloud.notes()
            except (OSError, asyncpg.PostgresError, RedisError):
                await asyncio.sleep(0.1)
        return await cloud.notes()

    async def test_brings_killed_databases_back_with_their_data(
        self, cloud: SmallCloud, process: "subprocess.Popen[bytes]"
    ) -> None:
        await cloud.ready()
        await cloud.write_note("before")
        pids = cloud.pids()
        for name in DATABASES:
            os.kill(pids[name], signal.SIGKILL)
        await eventually(
            lambda: all(cloud.pids().get(name, pids[name]) != pids[name] for name in DATABASES),
            "new servers",
        )

        assert await self.notes_once_it_answers(cloud) == (["before"], ["before"])

    async def test_a_killed_one_leaves_nobody_and_the_next_finds_its_data(
        self, cloud: SmallCloud
    ) -> None:
        first = cloud.start()
        await cloud.ready()
        await cloud.write_note("before")
        pids = cloud.pids()
        first.kill()
        first.wait()
        await eventually(lambda: not cloud.living(pids), "the end of all children")

        second = cloud.start()
        await cloud.ready()
        notes = await cloud.notes()
        second.send_signal(signal.SIGINT)

        assert second.wait(PATIENCE) == 0
        assert notes == (["before"], ["before"])
        assert set(pids) == {"postgres", "valkey", "stripe", "fleet", "web", "worker"}

    async def test_ctrl_c_stops_everything_and_says_so(self, cloud: SmallCloud) -> None:
        process = cloud.start()
        await cloud.ready()
        pids = cloud.pids()
        process.send_signal(signal.SIGINT)

        assert process.wait(PATIENCE) == 0
        assert cloud.living(pids) == []
        assert "ada" in cloud.said
        assert "battery-staple" in cloud.said
        assert "Stopped. Everything is kept" in cloud.said

    async def test_stops_also_when_its_terminal_is_gone(self, cloud: SmallCloud) -> None:
        """Seen to fail when a farewell into the closed pipe came before the stop."""
        reading, writing = os.pipe()
        process = cloud.start(writing)
        os.close(writing)
        with os.fdopen(reading, "rb") as terminal:
            await asyncio.to_thread(terminal.readline)
        await eventually((cloud.home / "demo.json").exists, "the demo")
        process.send_signal(signal.SIGTERM)

        assert process.wait(PATIENCE) == 0

    async def test_refuses_a_second_one_in_the_same_folder(
        self, cloud: SmallCloud, process: "subprocess.Popen[bytes]"
    ) -> None:
        await cloud.ready()
        twin = SmallCloud(cloud.home, free_port())

        assert twin.start().wait(PATIENCE) == 1
        assert "already running" in twin.said
        assert cloud.living(cloud.pids()) != []

    async def test_says_plainly_that_its_port_is_taken(
        self, cloud: SmallCloud, process: "subprocess.Popen[bytes]", tmp_path: Path
    ) -> None:
        await cloud.ready()
        other = SmallCloud(tmp_path / "other", cloud.port)

        assert other.start().wait(PATIENCE) == 1
        assert f"Port {cloud.port} on 127.0.0.1 is taken" in other.said

    @needs_root
    async def test_works_for_an_ordinary_user(self, tmp_path: Path) -> None:
        user = 65_534
        home = tmp_path / "home"
        home.mkdir()
        os.chown(home, user, user)
        cloud = SmallCloud(
            home,
            free_port(),
            # Not root, but let through to wherever this checkout and its Python lie.
            before=(
                *("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"),
                *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
            ),
        )
        process = cloud.start()
        try:
            await cloud.ready()
            await cloud.write_note("mine")
            notes = await cloud.notes()
        finally:
            process.send_signal(signal.SIGINT)

        assert process.wait(PATIENCE) == 0
        assert notes == (["mine"], ["mine"])
        assert {file.stat().st_uid for file in home.iterdir()} == {user}
