"""A person without JavaScript, over a cloud in memory."""

from collections.abc import AsyncIterator

import pytest
from litestar.testing import AsyncTestClient

from api_world import memory_app
from gpucloud_adapters.memory.cloud import MemoryCloud
from page_visitor import PageVisitor


@pytest.fixture
async def cloud() -> MemoryCloud:
    return await MemoryCloud.found(nodes=2)


@pytest.fixture
async def visitor(cloud: MemoryCloud) -> AsyncIterator[PageVisitor]:
    async with AsyncTestClient(memory_app(cloud)) as client:
        client.follow_redirects = False
        yield PageVisitor(cloud, client)
