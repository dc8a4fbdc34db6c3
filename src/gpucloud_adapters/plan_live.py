"""The platform's own fleet, as a plan starts from it: read once, changed never."""

from gpucloud_adapters.postgres.engine import create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.placement.plan import Ground, as_it_is


async def read(url: str, pool: str) -> Ground:
    """Return the nodes of a pool and the open claims on them.

    Raises:
        NotFound: there is no such node.
    """
    engine = create_engine(url)
    try:
        async with PostgresTransactions(engine).begin(Scope.platform()) as unit:
            return await as_it_is(unit, pool)
    finally:
        await engine.dispose()
