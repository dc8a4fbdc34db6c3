"""How long the server takes for each page of a large tenant, and how often it asks the database.

Reports the time at the server (no network), the number of statements, and the bytes a browser gets,
compressed. The floor beside them is the sign-in page, which reads nothing. The best of some rounds
counts, as other programs share the machine; the median stands beside it. Exits with 1 if a page is
over its bar. Also says how many bytes of scripts a page loads.
"""

import argparse
import asyncio
import gzip
import logging
import statistics
import sys
import time
from typing import Any, Final

from large_tenant import ORIGIN, USAGE, Seeded, Servers, application, seed, servers
from litestar.testing import AsyncTestClient

from gpucloud_adapters.postgres.engine import Engine
from gpucloud_web.rendering import BUILD, Assets

ROUNDS: Final = 7
SEEDING_SECONDS: Final = 170.0
MILLISECONDS_MAX: Final = 400.0
STATEMENTS_MAX: Final = 45
SCRIPT_BYTES_MAX: Final = 250_000


def paths_of(seeded: Seeded) -> tuple[str, ...]:
    """Return every page of a tenant, on its dearest addresses."""
    workload = f"/workloads/{seeded.allocation}"
    return (
        *("/login", "/", "/workloads", "/workloads?view=active", "/workloads?q=run-19"),
        *("/workloads?limit=100", "/workloads?sort=-gpu_count", "/infra/allocations"),
        *("/infra/catalog", "/launch?sku=h200-sxm&step=capacity", "/launch?step=review"),
        *(workload, f"{workload}?tab=cost", f"{workload}?tab=hardware"),
        f"/tasks/{seeded.task}",
        *("/billing", "/billing?range=30d", "/billing?view=ledger", "/account"),
        *("/access/ssh-keys", "/inbox", "/find?q=run-19"),
    )


def operators_paths_of(seeded: Seeded) -> tuple[str, ...]:
    """Return every page of the platform's own people."""
    node = f"/admin/nodes/{seeded.node}"
    return (
        *("/admin", "/admin/nodes", "/admin/nodes?limit=100", node, f"{node}?tab=slots"),
        *("/admin/nodes/plans", "/admin/nodes/plans/new"),
        *("/admin/allocations", f"/admin/allocations/{seeded.allocation}"),
        *("/admin/skus", "/admin/skus/h200-sxm", "/admin/os-images"),
        *("/admin/audit-logs", "/ops/attention"),
    )


class Counter:
    """Counts statements sent to the database, without those that begin or set up a transaction."""

    def __init__(self) -> None:
        self.statements = 0

    def hear(self, statement: str) -> None:
        self.statements += 0 if statement.strip().startswith("SELECT set_config") else 1


async def _signed_up(client: Any, name: str) -> dict[str, str]:
    """Return the headers of somebody who has just signed up."""
    fields = {"username": name, "password": f"{name}'s long password"}
    answer = await client.post("/login/new", data=fields, headers={"Origin": ORIGIN})
    cookie = answer.headers["set-cookie"].split(";")[0]
    return {"Cookie": cookie, "Accept": "text/html", "Accept-Encoding": "gzip"}


async def measure(running: Servers, usage_rows: int) -> int:
    """Seed, ask for every page, and return how many are over their bar."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    app = application(running)
    over = 0
    async with AsyncTestClient(app, base_url=ORIGIN) as client:
        client.follow_redirects = False
        ada, olga = [await _signed_up(client, name) for name in ("ada", "olga")]
        seeded = await seed(
            running, "ada", operator="olga", limit_seconds=SEEDING_SECONDS, usage_rows=usage_rows
        )
        said = ", ".join(f"{count:,} {kind}" for kind, count in seeded.rows.items())
        print(f"{said}; seeded in {seeded.seconds:.0f} s")
        counter = Counter()
        engine = await app.state.dishka_container.get(Engine)
        engine.heard = counter.hear
        print(f"{'ms':>7} {'median':>7} {'statements':>10} {'bytes':>8}  page")
        for path in paths_of(seeded):
            over += await _page(client, path, ada, counter)
        for path in operators_paths_of(seeded):
            over += await _page(client, path, olga, counter)
    return over + _scripts()


async def _page(client: Any, path: str, headers: dict[str, str], counter: Counter) -> int:
    times = []
    await client.get(path, headers=headers)  # templates are compiled, statements prepared
    for _ in range(ROUNDS):
        counter.statements = 0
        begun = time.perf_counter()
        answer = await client.get(path, headers=headers)
        times.append(1000 * (time.perf_counter() - begun))
    assert answer.status_code in {200, 302, 303}, (path, answer.status_code, answer.text[:400])
    best, size = min(times), len(gzip.compress(answer.content, 5))
    bad = best > MILLISECONDS_MAX or counter.statements > STATEMENTS_MAX
    mark = "  OVER" if bad else ""
    middle = statistics.median(times)
    print(f"{best:7.1f} {middle:7.1f} {counter.statements:10} {size:8,}  {path}{mark}")
    return int(bad)


def _scripts() -> int:
    """Say what a page loads first, and what only some load."""
    sizes = {
        name: len(gzip.compress((BUILD / file).read_bytes(), 9))
        for name, file in Assets.read().names.items()
        if name.endswith((".js", ".css"))
    }
    print("compressed bytes:", ", ".join(f"{name} {size:,}" for name, size in sizes.items()))
    return int(sizes["app.js"] > SCRIPT_BYTES_MAX)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--usage", type=int, default=USAGE, help="rows of usage to seed")
    asked = parser.parse_args()
    with servers() as started:
        sys.exit(min(1, asyncio.run(measure(started, asked.usage))))
