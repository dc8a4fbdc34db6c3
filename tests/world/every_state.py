"""Every screen in every state that a driver can bring about, and their pages as they are drawn."""

from collections.abc import Awaitable, Callable
from typing import Final

from litestar.testing import AsyncTestClient
from playwright.async_api import Route

from api_world import memory_app
from gpucloud_adapters.memory.cloud import MemoryCloud
from page_visitor import PageVisitor
from world.catalog_states import CATALOG_MATRIX
from world.operator_states import OPERATOR_MATRIX
from world.page_states import MATRIX, Matrix, Scene, seen

EVERY_STATE: Final[Matrix] = {
    path: {
        **MATRIX.get(path, {}),
        **OPERATOR_MATRIX.get(path, {}),
        **CATALOG_MATRIX.get(path, {}),
    }
    for path in dict.fromkeys((*MATRIX, *OPERATOR_MATRIX, *CATALOG_MATRIX))
}


async def drawn(only: str = "") -> dict[str, str]:
    """Return each state's page, by screen and state; ``only`` those whose name has it."""
    pages = {}
    for path, states in EVERY_STATE.items():
        for state, (sight, _) in states.items():
            if only not in f"{path} {state}":
                continue
            cloud = await MemoryCloud.found(nodes=2)
            async with AsyncTestClient(memory_app(cloud)) as client:
                client.follow_redirects = False
                visitor = PageVisitor(cloud, client)
                pages[f"{path} {state}"] = (await seen(sight, Scene(visitor, cloud))).text
    return pages


def answering(html: str) -> Callable[[Route], Awaitable[None]]:
    """Return what answers with a page that was drawn before, so that style and scripts are real."""

    async def answer(route: Route) -> None:
        await route.fulfill(body=html, content_type="text/html")

    return answer
