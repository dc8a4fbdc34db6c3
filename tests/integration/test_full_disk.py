"""The whole API while the disk under its database is full, and after there is room again.

PostgreSQL stands, data and log, on a small file system that is really full: first tables cannot
grow (each statement fails for itself), then the log cannot (the server crashes and does not come
up). The supervisor of ``gpucloud up`` starts it again; nobody mends anything else. Every refusal
is a 503 that says when to come again, nothing acknowledged is lost, and what is asked again under
its key until it is answered has happened once.

Seen to fail when a full disk (SQLSTATE class 53) was no trouble that is known: it was a 500.
"""

import asyncio
import importlib
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx
import pytest

from embedded_servers import free_port
from gpucloud_adapters.embedded.leftovers import Records
from gpucloud_adapters.embedded.postgres import EmbeddedPostgres
from gpucloud_adapters.embedded.process import Supervisor
from world.writers import Writers, writers

MIB = 1024 * 1024
SIZE = 320 * MIB
REFUSED = 12  # answers that the full disk must have led to
FAULT_SECONDS = 30.0
PATIENCE = 60.0
MEGABYTE_OF_LOG = "SELECT pg_logical_emit_message(true, 'x', repeat('x', 1000000))"
BEFORE_AND_AFTER = 3  # writes of each writer that nothing is in the way of

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a file system"),
    pytest.mark.timeout(240),
]


@dataclass(frozen=True)
class Volume:
    """A file system of its own."""

    folder: Path

    def fill(self) -> None:
        """Take all the room that is left; what is given back meanwhile, too."""
        with (self.folder / "ballast").open("ab", buffering=0) as ballast:
            for size in (MIB, 64 * 1024, 4096):
                with suppress(OSError):
                    while True:
                        ballast.write(bytes(size))

    def empty(self) -> None:
        (self.folder / "ballast").unlink()


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    folder = tmp_path / "volume"
    folder.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", f"size={SIZE}", "gpucloud-test", str(folder))
    answer = subprocess.run(mount, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        pytest.skip(f"no file system can be made here: {answer.stderr.strip()}")
    yield Volume(folder)
    subprocess.run(("umount", "--lazy", str(folder)), check=True)


@dataclass(kw_only=True)
class Site:
    """The API, its database, and what is under that."""

    volume: Volume
    server: EmbeddedPostgres
    writers: Writers
    said: list[str]  # by the supervisor

    async def check(self) -> None:
        name = self.server.url.rpartition("/")[2]
        rows = await asyncpg.connect(self.server.url_of(name, "postgres"))
        await self.writers.check(rows)
        await rows.close()

    @property
    def refused(self) -> int:
        return self.writers.answers[httpx.codes.SERVICE_UNAVAILABLE]

    async def write_while_full(self) -> None:
        """Let everybody write until enough were refused; make room; see all of it through."""
        is_over = asyncio.Event()
        writing = asyncio.create_task(self.writers.write_until(is_over.is_set, PATIENCE))
        try:
            async with asyncio.timeout(FAULT_SECONDS):
                while self.refused < REFUSED and not writing.done():
                    self.volume.fill()
                    await asyncio.sleep(0.1)
        finally:
            self.volume.empty()
            is_over.set()
        await writing

    async def fill_the_log(self) -> None:
        """Write nothing but log until the server falls over it."""
        crashed = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
        self.volume.fill()
        with suppress(*crashed):
            rows = await asyncpg.connect(self.server.superuser_url)
            while True:
                await rows.execute(
                    "SELECT pg_logical_emit_message(true, 'x', repeat('x', 1000000))"
                )
                self.volume.fill()


@pytest.fixture
async def site(volume: Volume, redis_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    server = EmbeddedPostgres(home=volume.folder / "home", port=free_port())
    said: list[str] = []
    records = Records(tmp_path / "children.json")
    async with Supervisor(logs=tmp_path, records=records, report=said.append) as supervisor:
        await supervisor.start(server.command())
        await server.create()
        migrate = importlib.import_module("gpucloud_adapters.postgres.migrate")
        await asyncio.to_thread(migrate.upgrade, server.url)
        async with writers(server.url, redis_url, tmp_path) as everybody:
            yield Site(volume=volume, server=server, writers=everybody, said=said)


class TestAFullDisk:
    async def test_refuses_what_does_not_fit_and_loses_nothing(self, site: Site) -> None:
        await site.writers.all_write(BEFORE_AND_AFTER)
        site.volume.fill()

        await site.write_while_full()

        await site.writers.all_write(BEFORE_AND_AFTER)
        await site.check()
        assert set(site.writers.answers) <= {201, 409, 503}

    async def test_under_the_log_ends_the_server_which_comes_back(self, site: Site) -> None:
        await site.writers.all_write(BEFORE_AND_AFTER)
        await site.fill_the_log()

        await site.write_while_full()

        await site.writers.all_write(BEFORE_AND_AFTER)
        await site.check()
        assert any(line.startswith("postgres ended") for line in site.said)
