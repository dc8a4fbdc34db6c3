"""The wizard in a real browser: where a launch would go, and why it fits nowhere, in words.

Seen to fail when the picture was left as it was while a size was chosen, and when a refusal did
not name the nearest that would fit.
"""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Locator, expect

from world.access import faults
from world.browser import Visitor, chromium, chromium_version
from world.page_server import PageServer, page_server
from world.screens import signed_in

pytestmark = [pytest.mark.needs_chromium, pytest.mark.timeout(180)]


@pytest.fixture
async def browser(real_parts: dict[str, str]) -> AsyncIterator[Browser]:
    real_parts["Chromium"] = chromium_version()
    async with chromium() as started:
        yield started


@pytest.fixture
async def server() -> AsyncIterator[PageServer]:
    async with page_server() as served:
        yield served


@pytest.fixture
async def ada(browser: Browser, server: PageServer) -> AsyncIterator[Visitor]:
    async with Visitor.arrive(browser, server.url, bypass_csp=True) as visitor:
        await signed_in(visitor)
        await visitor.go("/launch?sku=h200-sxm&gpu_count=2&step=capacity")
        yield visitor


def where(ada: Visitor) -> Locator:
    return ada.page.locator("#where")


class TestWhereItWouldGo:
    async def test_is_drawn_and_follows_what_is_chosen(self, ada: Visitor) -> None:
        picture = where(ada).get_by_role("img")
        await expect(picture).to_have_attribute("aria-label", "The set on node-2: GPUs 0–1")
        await expect(where(ada).get_by_text("Why there")).to_be_visible()

        await ada.page.locator("input[name=gpu_count][value='8']").check(force=True)

        await expect(picture).to_have_attribute("aria-label", "The set on node-2: GPUs 0–7")
        await where(ada).get_by_text("Why there").click()
        await expect(where(ada)).to_contain_text("Its GPUs reach each other over")
        assert await faults(ada.page) == []

    async def test_is_drawn_for_every_machine(self, ada: Visitor) -> None:
        await ada.page.get_by_label("How many").fill("2")
        await ada.page.keyboard.press("Tab")

        await expect(where(ada).get_by_role("img")).to_have_count(2)

    async def test_says_what_is_farther_apart_than_asked(self, ada: Visitor) -> None:
        """Seen to fail when the draft forgot how near the machines must be."""
        await ada.page.get_by_label("How many").fill("2")
        await ada.page.get_by_label("Near each other").select_option("group")
        await ada.page.get_by_role("button", name="Image").click()
        await ada.go("/launch?step=capacity")

        await expect(ada.page.get_by_label("Near each other")).to_have_value("group")
        await ada.go("/launch?step=review")
        await expect(ada.page.locator("main")).to_contain_text("in one rail group, all or none")
        assert await faults(ada.page) == []

    async def test_says_why_it_is_nowhere_and_what_would_fit(
        self, ada: Visitor, server: PageServer
    ) -> None:
        await server.run("in-the-way")
        await ada.go("/launch?sku=h200-sxm&gpu_count=8&step=capacity")

        await expect(where(ada)).to_contain_text("It fits nowhere now.")
        for place in (where(ada), ada.page.locator("#quote")):
            await expect(place).to_contain_text("Only 7 GPUs are free.")
            await expect(place).to_contain_text("4 GPUs fit now, once.")
        assert await faults(ada.page) == []
