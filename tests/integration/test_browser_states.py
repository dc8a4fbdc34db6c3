"""Every screen in each of its states, in both themes, looked at by axe in a real browser.

The states come from ``world.every_state``; their pages are drawn over a cloud in memory each, and
handed to the browser in place of an answer, so that style and scripts are the real ones.
"""

from typing import Final

import pytest
from playwright.async_api import Browser

from world.access import faults
from world.browser import Visitor
from world.every_state import answering, drawn
from world.page_server import page_server

pytestmark = [
    pytest.mark.needs_chromium,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="module"),
]
THEMES: Final = ("light", "dark")


async def looked_at(browser: Browser, pages: dict[str, str]) -> dict[str, list[str]]:
    """Return what axe finds on each page, in either theme."""
    found: dict[str, list[str]] = {}
    async with (
        page_server() as server,
        Visitor.arrive(browser, server.url, bypass_csp=True) as visitor,
    ):
        for name, html in pages.items():
            await visitor.page.route("**/a-state", answering(html))
            await visitor.go("/a-state")
            for theme in THEMES:
                await visitor.page.emulate_media(color_scheme=theme, reduced_motion="reduce")
                if said := await faults(visitor.page):
                    found[f"{name} {theme}"] = said
            await visitor.page.unroute("**/a-state")
    return found


class TestStates:
    async def test_have_no_fault_in_either_theme(self, browser: Browser) -> None:
        assert await looked_at(browser, await drawn()) == {}

    async def test_would_show_a_planted_fault(self, browser: Browser) -> None:
        pages = {"planted": "<html lang=en><title>t</title><main><h1>h</h1><button></button>"}
        found = await looked_at(browser, pages)

        assert any("button-name" in fault for fault in found["planted light"])
