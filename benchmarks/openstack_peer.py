"""OpenStack Placement, as its project publishes it, claiming the same sizes on the same machine.

It is installed from PyPI into an environment of its own and speaks to a database of its own in the
same PostgreSQL. One claim is what its clients do: ask for candidates, pick one at random, put the
allocation. Resource providers and inventories are written by SQL.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
from bench_servers import Servers

from embedded_servers import free_port, running
from gpucloud_adapters.embedded.postgres import SUPERUSER
from gpucloud_adapters.embedded.process import Command

PACKAGES: Final = ("openstack-placement", "psycopg2-binary", "uwsgi")
CLIENTS: Final = 32
SIZES: Final = (1, 1, 1, 1, 2, 4, 8)
VCPUS_PER_GPU: Final = 12
_APP: Final = "from placement.wsgi import init_application\napplication = init_application()\n"
_INSTALL_SECONDS: Final = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """How fast it was, or why that is not known."""

    claims_per_s: float = 0.0
    words: str = ""


def peer_rate(at: Servers, nodes: int, seconds: float, *, python: Path | None) -> Peer:
    """Install it where it is not yet, run it, and return its rate."""
    try:
        chosen = python or _install(at.home / "peer")
    except (OSError, subprocess.SubprocessError) as error:
        return Peer(words=f"skipped: it cannot be installed here ({type(error).__name__})")
    home = at.home / "openstack"
    home.mkdir()
    asyncio.run(_create(at))
    url = at.postgres.url_of("placement", SUPERUSER).replace("postgresql+asyncpg", "postgresql")
    (home / "placement.conf").write_text(
        "[api]\nauth_strategy = noauth2\n[placement_database]\n"
        f"connection = {url.replace('postgresql://', 'postgresql+psycopg2://')}\n"
    )
    (home / "app.py").write_text(_APP)
    subprocess.run(
        [
            chosen.with_name("placement-manage"),
            *("--config-file", home / "placement.conf", "db", "sync"),
        ],
        check=True,
        capture_output=True,
    )
    asyncio.run(_seed(url, nodes))
    port = free_port()
    with running(_server(chosen, home, port), at.home / "peer.log"):
        rate = asyncio.run(_claims(port, seconds))
    return Peer(claims_per_s=rate, words=f"{rate:.1f} claims/s at {nodes * 8} GPUs")


def _install(folder: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
    python = folder / "bin/python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", *PACKAGES],
        check=True,
        capture_output=True,
        timeout=_INSTALL_SECONDS,
    )
    return python


def _server(python: Path, home: Path, port: int) -> Command:
    async def ready() -> bool:
        with suppress(OSError):
            (await asyncio.open_connection("127.0.0.1", port))[1].close()
            return True
        return False

    return Command(
        name="openstack-placement",
        argv=(
            str(python.with_name("uwsgi")),
            *("--http-socket", f"127.0.0.1:{port}", "--master", "--processes", "2"),
            *("--threads", "4", "--lazy-apps", "--http-keepalive", "--disable-logging"),
            *("--die-on-term", "--wsgi-file", str(home / "app.py")),
        ),
        environment={**os.environ, "OS_PLACEMENT_CONFIG_DIR": str(home)},
        ready=ready,
    )


async def _create(at: Servers) -> None:
    connection = await asyncpg.connect(at.postgres.url_of("postgres", SUPERUSER))
    await connection.execute("CREATE DATABASE placement")
    await connection.close()


async def _seed(url: str, nodes: int) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(
        "INSERT INTO resource_providers (id, uuid, name, generation, root_provider_id, created_at)"
        f" SELECT n, gen_random_uuid()::text, 'node-' || n, 0, n, now()::timestamp"
        f" FROM generate_series(1, {nodes}) AS n"
    )
    for kind, total in ((17, 8), (0, 8 * VCPUS_PER_GPU * 2)):
        await connection.execute(
            "INSERT INTO inventories (resource_provider_id, resource_class_id, total, reserved,"
            " min_unit, max_unit, step_size, allocation_ratio, created_at)"
            f" SELECT n, {kind}, {total}, 0, 1, {total}, 1, 1.0, now()::timestamp"
            f" FROM generate_series(1, {nodes}) AS n"
        )
    await connection.execute("ANALYZE")
    await connection.close()


async def _claims(port: int, seconds: float) -> float:
    chance = random.Random(3)
    end, begun, made = time.perf_counter() + seconds, time.perf_counter(), 0

    async def client() -> None:
        nonlocal made
        while time.perf_counter() < end:
            size = chance.choice(SIZES)
            wanted = f"PGPU:{size},VCPU:{VCPUS_PER_GPU * size}"
            path = f"/allocation_candidates?resources={wanted}&limit=10"
            _, body = await _ask(port, "GET", path, None)
            candidates = json.loads(body)["allocation_requests"]
            if not candidates:
                return  # it is full
            pick = chance.choice(candidates)
            given = {
                "allocations": pick["allocations"],
                "project_id": "bench",
                "user_id": "bench",
                "consumer_generation": None,
                "consumer_type": "INSTANCE",
                "mappings": pick.get("mappings", {}),
            }
            status, _ = await _ask(port, "PUT", f"/allocations/{uuid.uuid4()}", given)
            made += status == 204

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return made / (time.perf_counter() - begun)


async def _ask(port: int, method: str, path: str, body: object) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    content = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nX-Auth-Token: admin\r\n"
        "OpenStack-API-Version: placement 1.39\r\nContent-Type: application/json\r\n"
        f"Accept: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    writer.write(head.encode() + content)
    answer = await reader.read()
    writer.close()
    top, _, rest = answer.partition(b"\r\n\r\n")
    return int(top.split(b" ", 2)[1]), rest
