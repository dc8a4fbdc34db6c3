"""The palette in a real browser: a serial finds its workload, and a project is gone to.

Seen to fail when a line that is posted was followed as a link.
"""

import re
from dataclasses import replace

import pytest
from playwright.async_api import expect

from gpucloud_core.kernel.ids import ProjectId
from gpucloud_core.kernel.unit import Scope
from world.browser import Visitor
from world.page_server import PageServer

pytestmark = [
    pytest.mark.needs_chromium,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
]


async def typed(ada: Visitor, words: str, *, first: str) -> None:
    """Open the palette, type, and wait until the first line says so."""
    await ada.page.keyboard.press("Control+k")
    await ada.page.keyboard.type(words)
    line = ada.page.locator("#palette-list [role=option]").first
    await expect(line).to_contain_text(first)


class TestThePalette:
    async def test_finds_a_workload_by_the_serial_of_its_gpu(
        self, ada: Visitor, server: PageServer
    ) -> None:
        async with server.cloud.transactions.begin(Scope.platform()) as unit:
            row = await unit.allocations.get(server.active)
            assert row is not None
            node = await unit.nodes.get(row.node_id)
        assert node is not None
        held = next(gpu for gpu in node.topology.gpus if row.mask >> gpu.index & 1)
        await typed(ada, held.serial, first=row.name)
        await ada.page.keyboard.press("Enter")

        await expect(ada.page).to_have_url(re.compile(f"/workloads/{server.active}$"))
        assert ada.complaints == []

    async def test_goes_to_another_project(self, ada: Visitor, server: PageServer) -> None:
        async with server.cloud.transactions.begin(Scope.platform()) as unit:
            (project,) = await unit.projects.find()
            new = ProjectId(server.cloud.ids.new("prj"))
            await unit.projects.add(replace(project, id=new, name="Vision", slug="vision"))
        await ada.go("/workloads")
        await typed(ada, "vision", first="Switch to Vision")
        await ada.page.keyboard.press("Enter")

        await expect(ada.page.locator(".side")).to_contain_text("Vision")
        await expect(ada.page).to_have_url(re.compile("/workloads$"))
        await expect(ada.page.locator("main")).to_contain_text("Nothing launched yet")
        assert ada.complaints == []
