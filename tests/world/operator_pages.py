"""A person with a role of the platform, at the pages of operators."""

from dataclasses import replace

from gpucloud_core.access.model import PlatformRole
from gpucloud_core.kernel.unit import Scope
from page_visitor import PageVisitor


async def as_operator(
    visitor: PageVisitor, name: str = "olga", role: PlatformRole = PlatformRole.ADMIN
) -> PageVisitor:
    """Sign up, with money and a key, and be given a role of the platform."""
    await visitor.arrive(name)
    async with visitor.cloud.transactions.begin(Scope.platform()) as unit:
        (user,) = await unit.users.find(username_key=name)
        await unit.users.put(replace(user, platform_role=role))
    return visitor
