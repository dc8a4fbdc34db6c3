"""Durable claims per second, and launches accepted over HTTP beside OpenStack Placement.

*Database only*: sixteen connections decide with the product's ``choose`` on one image and bind
with its own statement, one commit each, in a tenant's role and with every constraint in force:
once alone on the connection, and once in a unit of work as use cases have it. Beside them a bare
function on a bare table does the least that a claim could be. *Launches*: thirty-two clients ask
the product's web server for launches, each a transaction with authorisation, quota, hold, claim,
ledger, audit and outbox. *OpenStack Placement* comes from PyPI into a throw-away environment and
is asked for the same sizes on the same machine; without a network it is skipped, and that is said.

Load comes from the same machine, so all of them share its processors. A fleet is emptied between
bursts, outside the measured time.

    python benchmarks/bench_placement_claims.py [--json] [--nodes 125 1250 12500] [--seconds 5]
        [--only database | http] [--peer PYTHON]
"""

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import asyncpg
from bench_servers import Servers, servers
from many_nodes import Fleet
from openstack_peer import Peer, peer_rate

from embedded_servers import free_port, running
from gpucloud_adapters import parts
from gpucloud_adapters.embedded.postgres import DATABASE, SUPERUSER
from gpucloud_adapters.embedded.process import Command
from gpucloud_adapters.postgres.compiled import compiled
from gpucloud_adapters.postgres.engine import Engine, create_engine
from gpucloud_adapters.postgres.fleet import CLAIMS, TAKE, PostgresFleet
from gpucloud_adapters.postgres.session import Session
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_adapters.system import SystemIds
from gpucloud_core.catalog.pools import pool_of
from gpucloud_core.kernel.ids import AllocationId, ClaimId, TenantId
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.placement.choose import choose
from gpucloud_core.placement.fleet_view import FleetView
from gpucloud_core.placement.model import Claim, Demand, Placement, PlacementRequest
from world.market import OPENED, Customer, Market

CONNECTIONS: Final = 16
CLIENTS: Final = 32
CUSTOMERS: Final = 64
SIZES: Final = (1, 1, 1, 1, 2, 4, 8)
FILL: Final = 0.6  # of a fleet, in one burst
CLAIMS_BAR: Final = 5_000
LAUNCHES_BAR: Final = 150
PEER_BAR: Final = 7.0
FLAT_BAR: Final = 0.7  # of the smallest fleet's rate, at the largest

Work = Callable[[int], Awaitable[bool]]


async def until(seconds: float, workers: int, burst: int, work: Work, reset: Work) -> list[float]:
    """Do ``work`` with so many workers; return how long each success took, and all together."""
    took: list[float] = []
    spent = 0.0
    while spent < seconds:
        left = iter(range(burst))

        async def worker(number: int) -> None:
            for _ in left:  # noqa: B023  of this burst
                begun = time.perf_counter()
                if await work(number):
                    took.append(time.perf_counter() - begun)

        begun = time.perf_counter()
        await asyncio.gather(*map(worker, range(workers)))
        spent += time.perf_counter() - begun
        await reset(0)
    return [spent, *took]


def burst_of(nodes: int) -> int:
    """Return how many launches fill the fleet as far as one burst may."""
    return min(300, int(nodes * 8 * FILL / statistics.fmean(SIZES)))


# ---- database only ----------------------------------------------------------------------------

_BARE: Final = """
CREATE TABLE bare_nodes (id int PRIMARY KEY, free bigint NOT NULL);
CREATE TABLE bare_claims (id text PRIMARY KEY, node int NOT NULL, mask bigint NOT NULL);
CREATE FUNCTION bare_claim(claim text, at int, wanted bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE bare_nodes SET free = free & ~wanted WHERE id = at AND free & wanted = wanted;
    IF NOT FOUND THEN RETURN false; END IF;
    INSERT INTO bare_claims VALUES (claim, at, wanted);
    RETURN true;
END $$;
"""


class Claims:
    """Claims by the product's placement and its statement, alone or in units of work."""

    def __init__(self, engine: Engine, customer: Customer, market: Market, url: str) -> None:
        self._alone = create_engine(url, connections=CONNECTIONS, overflow=0)
        self._connections: list[asyncpg.Connection] = []
        self._engine = engine
        self._tenant = TenantId(customer.actor.tenant_id)
        self._market = market
        self._view = FleetView()
        self._ids = SystemIds()
        self._chance = random.Random(1)
        self._requests: dict[int, PlacementRequest] = {}

    async def open(self) -> None:
        for _ in range(CONNECTIONS):
            connection = await self._alone.acquire()
            await connection.execute(
                f"SET ROLE gpucloud_app; SET gpucloud.tenant = '{self._tenant}'"
            )
            self._connections.append(connection)
        async with PostgresTransactions(self._engine).begin(Scope.platform()) as unit:
            (sku,) = await unit.skus.find()
        mix = tuple(Demand(size, weight) for size, weight in sku.demand_mix)
        self._requests = {
            size: PlacementRequest(
                sku_id=sku.id,
                pool=pool_of(sku),
                gpu_count=size,
                vcpus=size,
                memory_mib=size,
                demand_mix=mix,
            )
            for size in set(SIZES)
        }
        await self.refresh()

    async def refresh(self) -> None:
        async with PostgresTransactions(self._engine).begin(Scope.platform()) as unit:
            await self._view.refresh(unit)

    async def close(self) -> None:
        await self._alone.dispose()

    async def alone(self, worker: int) -> bool:
        """Claim by the one statement, which is its own transaction."""

        async def take(claim: Claim) -> bool:
            values = {**CLAIMS.mapping.encode(claim), "may_wait": False}
            made = compiled(TAKE, values)
            taken = await self._connections[worker].fetchval(made.sql, *made.arguments(values))
            return taken is not None

        return await self._claim(take)

    async def in_unit(self, _: int) -> bool:
        """Claim in a unit of work: a scope, the statement, a commit."""

        async def take(claim: Claim) -> bool:
            session = await Session.open(self._engine, Scope.tenant(self._tenant))
            try:
                taken = await PostgresFleet(session).take(claim, may_wait=False)
                await session.commit()
            finally:
                await session.close()
            return taken

        return await self._claim(take)

    async def _claim(self, take: Callable[[Claim], Awaitable[bool]]) -> bool:
        request = self._requests[self._chance.choice(SIZES)]
        image, busy = self._view.image, self._view.busy
        decision = choose(request, image, busy=busy)
        if not isinstance(decision, Placement):
            return False
        place = decision.places[0]
        image.take(place, request)
        busy[place.node_id] += 1
        claim = Claim(
            id=ClaimId(self._ids.new("clm")),
            tenant_id=self._tenant,
            allocation_id=AllocationId(self._ids.new("alc")),
            node_id=place.node_id,
            mask=place.mask,
            vcpus=request.vcpus,
            memory_mib=request.memory_mib,
            claimed_at=OPENED,
        )
        try:
            return await take(claim)
        finally:
            busy[place.node_id] -= 1
            if not busy[place.node_id]:
                del busy[place.node_id]


async def bare(url: str, nodes: int, seconds: float) -> float:
    """Return the rate of the least that a claim could be: one call, one commit."""
    connections = [await asyncpg.connect(url) for _ in range(CONNECTIONS)]
    first = connections[0]
    await first.execute(
        f"TRUNCATE bare_nodes, bare_claims; INSERT INTO bare_nodes SELECT n, 255 "
        f"FROM generate_series(0, {nodes - 1}) AS n"
    )
    numbers = iter(range(nodes * 8))

    async def claim(worker: int) -> bool:
        number = next(numbers, None)
        if number is None:
            return False
        node, mask = number % nodes, 1 << number // nodes
        made = await connections[worker].fetchval(
            "SELECT bare_claim($1, $2, $3)", str(number), node, mask
        )
        return bool(made)

    async def reset(_: int) -> bool:
        nonlocal numbers
        numbers = iter(range(nodes * 8))
        await first.execute("TRUNCATE bare_claims; UPDATE bare_nodes SET free = 255")
        return True

    spent, *took = await until(seconds, CONNECTIONS, burst_of(nodes), claim, reset)
    for connection in connections:
        await connection.close()
    return len(took) / spent


# ---- launches over HTTP -----------------------------------------------------------------------


class Client:
    """One client: a kept connection, as little Python as will do."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def launch(self, customer: Customer, gpus: int, key: str) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        body = json.dumps(
            {"sku": "h200-sxm", "gpu_count": gpus, "ssh_key_ids": [customer.ssh_key_id]}
        ).encode()
        head = (
            f"POST /api/v1/allocations HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {customer.access_token}\r\n"
            f"X-Project-ID: {customer.project_id}\r\nIdempotency-Key: {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = next(
            int(line.split(":")[1])
            for line in answer.split("\r\n")
            if line.startswith("content-length:")
        )
        return int(answer.split(" ", 2)[1]), await reader.readexactly(length)


async def launches(
    port: int, fleet: Fleet, customers: Sequence[Customer], seconds: float
) -> dict[str, Any]:
    clients = [Client(port) for _ in range(CLIENTS)]
    chance, turns = random.Random(2), iter(range(10**9))
    answers: dict[int, int] = {}
    doubles = 0

    async def launch(number: int) -> bool:
        turn = next(turns)
        customer = customers[turn % len(customers)]
        key = f"{fleet.nodes}-{turn}"
        status, body = await clients[number].launch(customer, chance.choice(SIZES), key)
        answers[status] = answers.get(status, 0) + 1
        if status not in {202, 409, 503}:  # 503: the machine is too busy to answer in time
            raise SystemExit(f"a launch was answered with {status}: {body[:500]!r}")
        return status == 202

    async def reset(_: int) -> bool:
        nonlocal doubles
        doubles += await fleet.double_claims()
        await fleet.clear()
        return True

    await until(0.1, CLIENTS, 200, launch, reset)  # warm
    answers.clear()
    spent, *took = await until(seconds, CLIENTS, burst_of(fleet.nodes), launch, reset)
    took.sort()
    if not took:
        raise SystemExit(f"no launch was accepted: {answers}")
    return {
        "launches_per_s": round(len(took) / spent, 1),
        "launch_p50_ms": round(1000 * took[len(took) // 2], 1),
        "launch_p99_ms": round(1000 * took[len(took) * 99 // 100], 1),
        "launches": len(took),
        "refused": answers.get(409, 0),
        "unavailable": answers.get(503, 0),
        "double_claims": doubles,
    }


def web(port: int, running_servers: Servers) -> Command:
    async def ready() -> bool:
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            answer = await reader.read(64)
            writer.close()
            return b" 200 " in answer
        return False

    return Command(
        name="web",
        argv=parts.web("127.0.0.1", port),
        environment={**os.environ, **running_servers.environment},
        ready=ready,
    )


# ---- all together -----------------------------------------------------------------------------


async def measure(asked: argparse.Namespace, at: Servers, port: int) -> list[dict[str, Any]]:
    engine = create_engine(at.environment["DATABASE_URL"])
    market = Market(transactions=PostgresTransactions(engine))
    superuser = await asyncpg.connect(at.postgres.url_of(DATABASE, SUPERUSER))
    await superuser.execute(_BARE)
    await market.open()
    fleet = Fleet(superuser)
    await fleet.open(market)
    customers = [await market.customer(f"buyer-{number}") for number in range(CUSTOMERS)]
    results = []
    for nodes in asked.nodes:
        await fleet.grow(nodes)
        result: dict[str, Any] = {"nodes": nodes, "gpus": nodes * 8}
        if asked.only != "http":
            claims = Claims(engine, customers[0], market, at.environment["DATABASE_URL"])
            await claims.open()

            doubles = 0

            async def reset(_: int) -> bool:
                nonlocal doubles
                doubles += await fleet.double_claims()
                await fleet.clear()
                await claims.refresh()  # noqa: B023  of this size
                return True

            for name, work in (("claims", claims.alone), ("unit_claims", claims.in_unit)):
                await until(0.1, CONNECTIONS, CONNECTIONS, work, reset)  # warm
                spent, *took = await until(asked.seconds, CONNECTIONS, burst_of(nodes), work, reset)
                result[f"{name}_per_s"] = round(len(took) / spent)
            result["double_claims"] = doubles
            await claims.close()
            url = at.postgres.url_of(DATABASE, SUPERUSER)
            result["bare_claims_per_s"] = round(await bare(url, nodes, asked.seconds))
        if asked.only != "database":
            launched = await launches(port, fleet, customers, asked.seconds)
            launched["double_claims"] += result.get("double_claims", 0)
            result |= launched
        results.append(result)
    await superuser.close()
    await engine.dispose()
    return results


def report(results: list[dict[str, Any]], peer: Peer) -> dict[str, Any]:
    bars: dict[str, dict[str, Any]] = {}
    ratios: dict[str, float] = {}

    def bar(name: str, value: float, limit: float) -> None:
        bars[name] = {"value": round(value, 2), "bar": limit, "met": value >= limit}

    if "claims_per_s" in results[0]:
        rates = [one["claims_per_s"] for one in results]
        bar("claims_per_s", min(rates), CLAIMS_BAR)
        bar("claims_flat_in_fleet_size", rates[-1] / rates[0], FLAT_BAR)
        ratios |= {
            f"claims_to_bare_at_{one['nodes']}": round(
                one["claims_per_s"] / one["bare_claims_per_s"], 2
            )
            for one in results
        }
    if "launches_per_s" in results[0]:
        rates = [one["launches_per_s"] for one in results]
        bar("launches_per_s", min(rates), LAUNCHES_BAR)
        bar("launches_flat_in_fleet_size", rates[-1] / rates[0], FLAT_BAR)
        if peer.claims_per_s:
            ratios["to_openstack_placement"] = round(rates[0] / peer.claims_per_s, 1)
            bar("to_openstack_placement", rates[0] / peer.claims_per_s, PEER_BAR)
    doubles = sum(one["double_claims"] for one in results)
    bars["double_claims"] = {"value": doubles, "bar": 0, "met": doubles == 0}
    return {
        "benchmark": "placement_claims",
        "environment": {
            "python": platform.python_version(),
            "cpus": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
            "openstack_placement": peer.words,
        },
        "results": results,
        "ratios": ratios,
        "bars": bars,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--nodes", type=int, nargs="+", default=[125, 1_250, 12_500])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--only", choices=["database", "http"])
    parser.add_argument("--peer", type=Path, help="a Python that has openstack-placement")
    asked = parser.parse_args()
    port = free_port()
    with servers() as at:
        if asked.only == "database":
            results = asyncio.run(measure(asked, at, port))
            peer = Peer(words="not asked for")
        else:
            with running(web(port, at), at.home / "web.log"):
                results = asyncio.run(measure(asked, at, port))
            peer = peer_rate(at, asked.nodes[0], asked.seconds, python=asked.peer)
    made = report(results, peer)
    if asked.json:
        print(json.dumps(made, indent=1))
        return 0
    for result in results:
        print(", ".join(f"{name} {value}" for name, value in result.items()))
    print(f"openstack-placement: {peer.words}")
    for name, each in made["bars"].items():
        print(f"{name}: {each['value']} (bar {each['bar']}, {'met' if each['met'] else 'missed'})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
