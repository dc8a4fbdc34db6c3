"""How often a launch asks the database: as often on a large fleet as on a small one.

Every message counts, those that begin and end the transaction too.
"""

from collections.abc import AsyncIterator

import pytest

from gpucloud_adapters.postgres.engine import Engine, create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_core.nodes.model import NodeAccess
from gpucloud_core.nodes.systems import hgx_h200
from gpucloud_core.placement.fleet_view import FleetView
from world.market import Market

MOST = 9  # of a launch of one machine
MOST_MORE = 2  # for each machine more: its claim and its transfer


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[Engine]:
    engine = create_engine(database_url)
    yield engine
    await engine.dispose()


class Counted:
    """Counts the messages of everything that goes through an engine."""

    def __init__(self, engine: Engine) -> None:
        self.statements: list[str] = []
        engine.heard = self.statements.append

    def taken(self) -> int:
        count = len(self.statements)
        self.statements.clear()
        return count


async def enroll(market: Market, first: int, last: int) -> None:
    for number in range(first, last):
        access = NodeAccess(
            host=f"node-{number}", port=22, username="g", host_key="k", credential="c"
        )
        endpoints = [(f"10.0.{number}.{index + 1}", 22) for index in range(8)]
        await market.enroll(f"node-{number}", hgx_h200(seed=f"n{number}"), access, endpoints)


class TestLaunch:
    async def test_asks_no_more_often_where_there_are_more_nodes(self, engine: Engine) -> None:
        market = Market(transactions=PostgresTransactions(engine))
        await market.open()
        customer, fleet, counted = await market.customer("ada"), FleetView(), Counted(engine)
        counts = []
        for first, last in ((0, 2), (2, 30)):
            await enroll(market, first, last)
            await market.launch(customer, customer.request(1), fleet=fleet)
            counted.taken()
            await market.launch(customer, customer.request(1), fleet=fleet)
            alone = counted.taken()
            await market.launch(customer, customer.request(1, count=3), fleet=fleet)
            counts.append((alone, counted.taken()))

        assert counts[0] == counts[1]
        assert counts[0][0] <= MOST
        assert counts[0][1] - counts[0][0] <= 2 * MOST_MORE
