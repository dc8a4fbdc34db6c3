"""Whether the process lives, and whether it can serve."""

import asyncio

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import Response, get

from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.kernel.errors import DomainError
from gpucloud_core.kernel.unit import Scope, Transactions

READY_SECONDS = 2.0


class HealthBody(msgspec.Struct):
    status: str


@get("/healthz", operation_id="healthz", tags=["health"], security=[{}])
async def healthz() -> HealthBody:
    """Say that the process lives."""
    return HealthBody("ok")


@get("/readyz", operation_id="readyz", tags=["health"], security=[{}])
async def readyz(
    transactions: FromDishka[Transactions[AllocationUnit]],
) -> Response[HealthBody]:
    """Say whether the database answers."""
    try:
        async with asyncio.timeout(READY_SECONDS), transactions.begin(Scope.platform()) as unit:
            await unit.now()
    except (TimeoutError, DomainError):
        return Response(HealthBody("database_unavailable"), status_code=503)
    return Response(HealthBody("ok"), status_code=200)
