"""Lists in a real browser: what changes elsewhere shows here and moves nothing that is being read.

A live update neither pushes down what is read nor loses a row that left its view; a patch keeps
the selection; a lost answer leaves no grey bars; after a 429 it is asked once more and not again.
"""

import time
from typing import Final

import pytest
from playwright.async_api import Browser, Page, Route, expect

from world.browser import Visitor
from world.page_server import PageServer
from world.screens import signed_in

pytestmark = [
    pytest.mark.needs_chromium,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]
SOON: Final = 2_000  # milliseconds in which a change made elsewhere shows


async def live(page: Page) -> None:
    await expect(page.locator("[data-live-note][data-state=live]").first).to_be_visible()


class TestLiveRows:
    async def test_wait_with_what_is_new_and_move_nothing(
        self, ada: Visitor, server: PageServer
    ) -> None:
        page = ada.page
        await ada.go("/workloads")
        await live(page)
        first = page.locator("#list tbody tr").first
        before = await first.get_attribute("data-row")
        where = await first.bounding_box()
        await server.launch("came-later")

        await expect(page.get_by_role("button", name="1 new · Show")).to_be_visible(timeout=SOON)
        assert await first.get_attribute("data-row") == before
        again = await first.bounding_box()
        assert where is not None
        assert again is not None
        assert again["y"] - where["y"] < 50
        await page.get_by_role("button", name="1 new · Show").click()
        await expect(page.locator("#list tbody tr").first).to_contain_text("came-later")
        assert ada.complaints == []

    async def test_show_a_change_made_in_another_browser(
        self, browser: Browser, server: PageServer
    ) -> None:
        workload = await server.run("released-elsewhere")
        async with (
            Visitor.arrive(browser, server.url) as reader,
            Visitor.arrive(browser, server.url) as actor,
        ):
            await signed_in(reader)
            await signed_in(actor)
            await reader.go("/workloads?view=active")
            await live(reader.page)
            await actor.go(f"/workloads/{workload}")
            await actor.press("Release…")
            begun = time.monotonic()
            await actor.press("Release released-elsewhere")

            gone = reader.page.locator("tr.gone", has_text="released-elsewhere")
            await expect(gone).to_contain_text("Moved to", timeout=SOON + 2_000)
            assert time.monotonic() - begun < 6  # on a machine that does much else
            await gone.get_by_role("link", name="View").click()
            await expect(reader.page.locator("#list")).to_contain_text("released-elsewhere")

    async def test_keep_the_selection_and_the_focus(self, ada: Visitor, server: PageServer) -> None:
        await server.run("kept-selected")
        other = await server.run("moves-about")
        page = ada.page
        await ada.go("/workloads?view=active")
        await live(page)
        box = page.get_by_label("Select kept-selected")
        await box.check()
        await box.focus()
        await server.release(other)

        await expect(page.locator("tr.gone", has_text="moves-about")).to_be_visible()
        await expect(page.locator("[data-selected]")).to_have_text("1 selected")
        await expect(box).to_be_checked()
        await expect(box).to_be_focused()


class TestBulk:
    async def test_answers_for_each_row_in_the_dialog(
        self, ada: Visitor, server: PageServer
    ) -> None:
        for name in ("bulk-a", "bulk-b"):
            await server.run(name)
        page = ada.page
        await ada.go("/workloads?q=bulk-")
        await expect(page.locator(".bulk")).to_be_hidden()
        await page.get_by_label("Select every row shown").check()
        await page.get_by_role("button", name="Release…").click()
        dialog = page.locator("dialog[open]")
        await expect(dialog).to_contain_text("Release 2 workloads?")
        await expect(dialog.locator("[data-cancel]")).to_be_focused()
        await dialog.get_by_role("button", name="Release 2 workloads").click()
        await expect(dialog.get_by_role("heading")).to_have_text("2 released")
        await dialog.get_by_role("link", name="Done").click()

        await expect(page.locator("dialog[open]")).to_have_count(0)
        await expect(page.locator("#list")).to_contain_text("Releasing")
        assert ada.complaints == []


class TestKeyboard:
    async def test_walks_rows_selects_and_opens(self, ada: Visitor) -> None:
        page = ada.page
        await ada.go("/workloads?sort=name&view=active")
        await live(page)
        await page.keyboard.press("j")
        await page.keyboard.press("x")
        await expect(page.locator("[data-selected]")).to_have_text("1 selected")
        await page.keyboard.press("e")
        await expect(page.locator("details[open] .menu a").first).to_be_focused()
        await page.keyboard.press("Escape")
        await page.keyboard.press("k")
        name = await page.evaluate("document.activeElement.textContent")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text(name)
        await page.go_back()
        assert "sort=name" in page.url

    async def test_single_letters_are_inert_where_one_types_and_when_turned_off(
        self, ada: Visitor
    ) -> None:
        page = ada.page
        await ada.go("/workloads")
        await page.get_by_role("searchbox").fill("")
        await page.keyboard.type("njx?")
        await expect(page.get_by_role("searchbox")).to_have_value("njx?")
        await page.get_by_role("searchbox").blur()
        await page.keyboard.press("?")
        await page.get_by_role("button", name="Turn shortcuts off").click()
        await page.keyboard.press("Escape")
        await page.keyboard.press("n")
        await page.keyboard.press("g")
        await page.keyboard.press("b")
        await expect(page.get_by_role("heading", level=1, name="Workloads")).to_be_visible()

    async def test_runs_an_act_from_the_palette_after_its_question(
        self, ada: Visitor, server: PageServer
    ) -> None:
        await server.run("from-the-palette")
        page = ada.page
        await live(page)
        await page.keyboard.press("Control+k")
        await page.keyboard.type("release from-the")
        await expect(page.get_by_role("option").first).to_contain_text("Release from-the-palette…")
        await page.keyboard.press("Enter")
        dialog = page.locator("dialog[open]")
        await expect(dialog).to_contain_text("Release from-the-palette?")
        await page.keyboard.press("Escape")
        await expect(dialog).to_have_count(0)
        assert ada.complaints == []


class TestTrouble:
    async def test_shows_bars_then_says_what_failed_and_retries(self, ada: Visitor) -> None:
        page = ada.page
        await ada.go("/workloads")
        await live(page)
        held: list[Route] = []

        async def hold(route: Route) -> None:
            held.append(route)

        await page.route("**/workloads?*", hold)
        await page.get_by_role("searchbox").fill("llama")
        await expect(page.locator(".skel-row").first).to_be_visible()
        await held[0].abort()
        await expect(page.locator(".list-trouble")).to_contain_text("No answer")
        await expect(page.locator("#list tbody tr[data-row]").first).to_be_visible()
        await page.unroute("**/workloads?*")
        await page.get_by_role("button", name="Retry").click()

        await expect(page.locator("#list tbody tr")).to_have_count(1)
        await expect(page.locator(".list-trouble")).to_have_count(0)

    async def test_counts_down_when_asked_too_often_and_asks_once_more(self, ada: Visitor) -> None:
        page = ada.page
        await ada.go("/workloads")
        asked: list[str] = []

        async def refuse(route: Route) -> None:
            asked.append(route.request.url)
            await route.fulfill(status=429, headers={"retry-after": "1"}, body="no")

        await page.route("**/workloads?q=*", refuse)
        await page.get_by_role("searchbox").fill("llama")
        await expect(page.locator(".list-trouble")).to_contain_text("Asking again in")
        await expect(page.locator(".list-trouble")).to_contain_text("Try again in 0 s.")
        assert len(asked) == 2


class TestReflow:
    async def test_reads_at_twice_the_size(self, browser: Browser, server: PageServer) -> None:
        async with Visitor.arrive(
            browser, server.url, viewport={"width": 720, "height": 450}, device_scale_factor=2
        ) as visitor:
            await signed_in(visitor)
            page = visitor.page
            for path in ("/workloads", "/billing", f"/workloads/{server.active}?tab=metrics"):
                await visitor.go(path)
                beyond = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert beyond <= 0, path
