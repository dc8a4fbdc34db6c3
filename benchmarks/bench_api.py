"""How many authenticated lists of 50 rows the API answers a second, with 32 clients.

The server is the product's own, in a process of its own. Beside it, in the same run, stands a
floor: the same rows by one statement of asyncpg and msgspec behind the same web framework and
server, without sign-in, tenants or anything else. Exits with 1 below the bar.

``python benchmarks/bench_api.py floor`` is what the floor's process runs.
"""

import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import asyncpg
from granian.constants import Interfaces
from granian.server.embed import Server
from httpx import AsyncClient
from large_tenant import Servers, seed, servers
from litestar import Litestar, Response, get
from litestar.datastructures import State

from embedded_servers import free_port

CLIENTS: Final = 32
SECONDS: Final = 8.0
WARM_SECONDS: Final = 2.0
PER_SECOND_MIN: Final = 600.0
P99_MILLISECONDS_MAX: Final = 60.0
SEEDING_SECONDS: Final = 30.0


class Client:
    """One connection that asks again as soon as it has its answer."""

    def __init__(self, port: int, path: str, headers: dict[str, str]) -> None:
        lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._request = ("\r\n".join(lines) + "\r\n\r\n").encode()
        self._port = port
        self.times: list[float] = []

    async def ask(self, until: float, *, count: bool) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while (begun := time.perf_counter()) < until:
            writer.write(self._request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
            await reader.readexactly(int(length))
            if count:
                self.times.append(time.perf_counter() - begun)
        writer.close()


async def load(port: int, path: str, headers: dict[str, str]) -> tuple[float, float, float]:
    """Return answers a second, and the median and the 99th percentile in milliseconds."""
    clients = [Client(port, path, headers) for _ in range(CLIENTS)]
    until = time.perf_counter() + WARM_SECONDS
    await asyncio.gather(*(client.ask(until, count=False) for client in clients))
    begun = time.perf_counter()
    await asyncio.gather(*(client.ask(begun + SECONDS, count=True) for client in clients))
    times = sorted(one for client in clients for one in client.times)
    elapsed = time.perf_counter() - begun
    p99 = times[int(len(times) * 0.99)]
    return len(times) / elapsed, 1000 * statistics.median(times), 1000 * p99


@contextmanager
def process(argv: list[str], environment: dict[str, str], port: int) -> Iterator[None]:
    """Run a web server until the block ends."""
    started = subprocess.Popen(argv, env={**os.environ, **environment}, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not _answers(port):
            assert time.monotonic() < deadline, argv
            time.sleep(0.2)
        yield
    finally:
        started.send_signal(signal.SIGTERM)
        started.wait(20)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def _prepared(running: Servers, port: int) -> str:
    """Sign up, seed, and return the bearer token."""
    async with AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        body = {"username": "ada", "password": "ada's long password"}
        answer = await client.post("/api/v1/auth/personal/signup", json=body)
    await seed(running, "ada", limit_seconds=SEEDING_SECONDS, usage_rows=0)
    return str(answer.json()["access_token"])


def floor(port: int) -> None:
    """Serve the floor until told to stop."""

    @get("/rows")
    async def rows(state: State) -> Response[bytes]:
        async with state.pool.acquire() as connection:
            found = await connection.fetch(_FLOOR)
        return Response(json.dumps([dict(row) for row in found]).encode())

    async def connect(app: Litestar) -> None:
        app.state.pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=10)

    app = Litestar([rows], on_startup=[connect])
    server = Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGI)

    async def serve() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
        await server.serve()

    asyncio.run(serve())


_FLOOR: Final = (
    "SELECT id, name, state, shape, sku_id, gpu_count, project_id, task_id, node_id, region, "
    "requested_at::text, active_at::text, rate_micros_per_hour, currency "
    "FROM allocations ORDER BY id DESC LIMIT 50"
)


def main() -> int:
    """Measure both and compare."""
    web = Path(sys.executable).parent / "gpucloud"
    with servers() as running:
        port, floor_port = free_port(), free_port()
        environment = running.environment | {
            "GPUCLOUD_PORT": str(port),
            "GPUCLOUD_PUBLIC_URL": f"http://127.0.0.1:{port}",
        }
        with process([str(web), "web"], environment, port):
            token = asyncio.run(_prepared(running, port))
            ours = asyncio.run(
                load(port, "/api/v1/allocations?limit=50", {"Authorization": f"Bearer {token}"})
            )
        superuser = environment | {"DATABASE_URL": running.superuser_url}
        argv = [sys.executable, __file__, "floor", str(floor_port)]
        with process(argv, superuser, floor_port):
            bare = asyncio.run(load(floor_port, "/rows", {}))
    for name, (rate, middle, p99) in (("gpucloud", ours), ("floor", bare)):
        print(f"{name:9} {rate:7.0f}/s  p50 {middle:6.1f} ms  p99 {p99:6.1f} ms")
    print(f"gpucloud answers {ours[0] / bare[0]:.2f} of what the floor does")
    return int(ours[0] < PER_SECOND_MIN or ours[2] > P99_MILLISECONDS_MAX)


if __name__ == "__main__":
    if sys.argv[1:2] == ["floor"]:
        floor(int(sys.argv[2]))
    else:
        sys.exit(main())
