"""``gpucloud plan --pool`` on the platform's own fleet, as its database has it.

Seen to fail when what is held there was planned on as if it were free, and when the claims on it
were not read, so that no drain was advised.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from gpucloud_adapters.cli import run
from gpucloud_adapters.postgres.engine import create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_core.nodes.model import NodeAccess
from gpucloud_core.nodes.systems import hgx_h200
from gpucloud_core.placement.fleet_view import FleetView
from gpucloud_core.placement.model import Spread
from world.market import Market


@pytest.fixture
async def pool(database_url: str) -> str:
    """Two nodes of eight GPUs, on each of which somebody holds two."""
    engine = create_engine(database_url)
    market, view = Market(transactions=PostgresTransactions(engine)), FleetView()
    await market.open()
    customer = await market.customer("ada")
    for number in range(2):
        access = NodeAccess(
            host=f"node-{number}", port=22, username="g", host_key="k", credential="c"
        )
        endpoints = [(f"10.0.{number}.{index + 1}", 22) for index in range(8)]
        await market.enroll(f"node-{number}", hgx_h200(seed=f"n{number}"), access, endpoints)
    request = customer.request(2, count=2, spread=Spread.DISTINCT_NODES)
    await market.launch(customer, request, fleet=view)
    await engine.dispose()
    (name,) = view.image.pools
    return name


async def plan(database_url: str, *given: str) -> int:
    return await asyncio.to_thread(run, ["plan", "--json", *given], {"DATABASE_URL": database_url})


def told(capsys: pytest.CaptureFixture[str]) -> Mapping[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


class TestPlanOfAPool:
    async def test_begins_with_what_is_held(
        self, database_url: str, pool: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        asked = ("--mix", "4:1", "--launches", "4", "--vcpus-per-gpu", "1")

        assert await plan(database_url, "--pool", pool, *asked) == 0

        outlook = told(capsys)
        assert outlook["gpus"] == 16
        assert outlook["sizes"]["4"]["asked"] == 4
        assert outlook["sizes"]["4"]["placed"] == 2

    async def test_advises_to_drain_what_is_cut_up(
        self, database_url: str, pool: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert await plan(database_url, "--pool", pool, "--mix", "8:1", "--launches", "1") == 0

        outlook = told(capsys)
        assert outlook["sizes"]["8"]["placed"] == 0
        assert len(outlook["drains"]) == 1

    async def test_says_that_there_is_no_such_pool(
        self, database_url: str, pool: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert await plan(database_url, "--pool", f"{pool}s") == 2
        assert "no node of the pool" in capsys.readouterr().err
