"""An operator in a real browser: a node comes into service, is sold, and is drained."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from playwright.async_api import Browser, expect

from gpucloud_core.access.model import PlatformRole
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.nodes.systems import hgx_h200
from operator_world import HOST_KEY, NEW_HOST, PRIVATE_KEY
from world.browser import Visitor, chromium, chromium_version
from world.page_server import PageServer, page_server
from world.screens import signed_in

pytestmark = [pytest.mark.needs_chromium, pytest.mark.timeout(180)]

FIELDS = {
    "Name": "hgx-h200-09",
    "Region": "eu-fra-1",
    "SSH address": NEW_HOST,
    "Host key": HOST_KEY,
    "Private key": PRIVATE_KEY,
}


@pytest.fixture
async def browser(real_parts: dict[str, str]) -> AsyncIterator[Browser]:
    real_parts["Chromium"] = chromium_version()
    async with chromium() as started:
        yield started


@pytest.fixture
async def server() -> AsyncIterator[PageServer]:
    async with page_server() as served:
        served.cloud.driver.plug(NEW_HOST, hgx_h200(seed="new"))
        async with served.cloud.transactions.begin(Scope.platform()) as unit:
            user = await unit.users.lock(served.ada.user_id or "")
            assert user is not None
            await unit.users.put(replace(user, platform_role=PlatformRole.ADMIN))
        working = asyncio.create_task(_work(served))
        yield served
        working.cancel()


async def _work(server: PageServer) -> None:
    """Do what is due, over and over, as a worker does."""
    while True:
        await server.cloud.work()
        await asyncio.sleep(0.1)


class TestANode:
    async def test_comes_into_service_is_sold_and_is_drained(
        self, browser: Browser, server: PageServer
    ) -> None:
        async with Visitor.arrive(browser, server.url) as olga:
            await signed_in(olga)
            await self._add(olga)
            await self._discover_and_approve(olga)
            await self._sold(olga, "16 free")
            await self._drain(olga)
            await self._sold(olga, "8 free")
            await self._may_not_be_deleted(olga)

        assert olga.complaints == []

    async def _add(self, olga: Visitor) -> None:
        await olga.go("/admin/nodes")
        await olga.press("Add node")
        for label, value in FIELDS.items():
            await olga.page.get_by_label(label, exact=True).fill(value)
        await olga.page.get_by_label("Several tenants at a time").check()
        await olga.press("Add node")
        verdict = olga.page.locator("#verdict")
        await expect(verdict).to_contain_text("Nothing of it is sold yet")
        await olga.press("Open node")

    async def _discover_and_approve(self, olga: Visitor) -> None:
        await expect(olga.page.get_by_text("Nothing is known of its inside yet")).to_be_visible()
        await olga.press("Discover it")
        await expect(olga.page.locator("#verdict")).to_contain_text("Its slots are proposed.")
        await olga.press("Review slots")
        await expect(olga.page.get_by_text(re.compile(r"all \d+ conditions hold"))).to_have_count(8)
        await olga.press("Approve chosen")
        await expect(olga.page.locator("#title")).to_contain_text("Active")

    async def _sold(self, olga: Visitor, words: str) -> None:
        await olga.go("/infra/catalog")
        await expect(olga.page.locator("#offers")).to_contain_text(words)

    async def _drain(self, olga: Visitor) -> None:
        await olga.go("/admin/nodes")
        await olga.press("hgx-h200-09")
        await olga.press("Drain…")
        await olga.page.get_by_role("dialog").get_by_role("button", name="Drain").click()
        await expect(olga.page.locator("#title")).to_contain_text("Draining")

    async def _may_not_be_deleted(self, olga: Visitor) -> None:
        """The node that Ada's workload is on: who is in the way, why they are there."""
        await olga.go("/admin/nodes?sort=name")
        await olga.press("node-1")
        await expect(olga.page.locator("#inside")).to_contain_text("Its GPUs reach each other over")
        address = olga.page.url
        await olga.page.goto(f"{address}/delete")
        await expect(olga.page.get_by_role("alert")).to_contain_text("of ada")
        await expect(olga.page.get_by_role("alert")).to_contain_text("Drain it")
