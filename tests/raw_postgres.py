"""SQL of a test's own, in the roles that the product itself takes on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

APP, PLATFORM_ROLE, OWNER = "gpucloud_app", "gpucloud_platform", "gpucloud_owner"


@asynccontextmanager
async def acting(
    connection: asyncpg.Connection, role: str, tenant: str = ""
) -> AsyncIterator[None]:
    """Open a transaction in a role and a tenant, as a unit of the product does."""
    async with connection.transaction():
        await connection.execute(
            "SELECT set_config('role', $1, true), set_config('gpucloud.tenant', $2, true)",
            role,
            tenant,
        )
        yield


async def commit_as(
    connection: asyncpg.Connection, role: str, tenant: str, *statements: tuple[Any, ...]
) -> str:
    """Run statements, each with its values, in one transaction; return the last one's answer."""
    answer = ""
    async with acting(connection, role, tenant):
        for statement, *values in statements:
            answer = await connection.execute(statement, *values)
    return answer
