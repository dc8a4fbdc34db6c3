"""Pages in a real browser: access, keyboard, small screens, live updates, no complaint of policy.

Seen to fail when form fields lost their labels, when a closed dialog kept the focus, when xterm's
style elements carried another answer's nonce, and when a live update replaced the page instead of
morphing it.
"""

import asyncio
from typing import Final

import pytest
from playwright.async_api import Browser, expect

from world.access import faults
from world.browser import Visitor
from world.page_server import PageServer
from world.screens import paths_of, signed_in

pytestmark = [
    pytest.mark.needs_chromium,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]

NARROWEST: Final = {"width": 320, "height": 800}
PHONE: Final = {"width": 390, "height": 844}


class TestAccess:
    @pytest.mark.parametrize("theme", ["light", "dark"])
    async def test_finds_no_fault_on_any_route(
        self, browser: Browser, server: PageServer, theme: str
    ) -> None:
        found: dict[str, list[str]] = {}
        async with Visitor.arrive(
            browser, server.url, color_scheme=theme, bypass_csp=True
        ) as visitor:
            await visitor.go("/login")
            found["/login"] = await faults(visitor.page)
            await signed_in(visitor)
            for path in paths_of(server):
                await visitor.go(path)
                found[path] = await faults(visitor.page)

        # Only the gallery shows one list several times, and so its landmarks.
        found["/_gallery"] = [one for one in found["/_gallery"] if "landmark-unique" not in one]
        assert {path: said for path, said in found.items() if said} == {}

    async def test_would_find_a_planted_fault(self, browser: Browser, server: PageServer) -> None:
        async with Visitor.arrive(browser, server.url, bypass_csp=True) as visitor:
            await visitor.go("/login")
            await visitor.page.evaluate(
                "document.querySelector('main').append(document.createElement('button'))"
            )

            assert any("button-name" in fault for fault in await faults(visitor.page))


class TestSmallScreens:
    async def test_never_scroll_sideways(self, browser: Browser, server: PageServer) -> None:
        wide: list[str] = []
        async with Visitor.arrive(browser, server.url, viewport=NARROWEST) as visitor:
            await signed_in(visitor)
            for path in paths_of(server):
                if path != "/_gallery":
                    await visitor.go(path)
                    beyond = await visitor.page.evaluate(
                        "document.documentElement.scrollWidth - innerWidth"
                    )
                    wide += [path] if beyond > 0 else []

        assert wide == []

    async def test_keep_filters_in_a_sheet_that_what_is_beside_it_closes(
        self, browser: Browser, server: PageServer
    ) -> None:
        async with Visitor.arrive(browser, server.url, viewport=PHONE) as visitor:
            await signed_in(visitor)
            await visitor.go("/workloads")
            sheet = visitor.page.locator(".tools-f .menu-form")
            await visitor.page.locator(".tools-f summary").click()
            await expect(sheet).to_be_visible()
            box = await sheet.bounding_box()
            assert box is not None
            assert box["width"] == PHONE["width"]
            assert box["y"] + box["height"] == PHONE["height"]

            await visitor.page.mouse.click(200, 100)

            await expect(sheet).to_be_hidden()

    async def test_open_the_menu_as_a_drawer(self, browser: Browser, server: PageServer) -> None:
        async with Visitor.arrive(
            browser, server.url, viewport=PHONE, java_script_enabled=False
        ) as visitor:
            await signed_in(visitor)
            page = visitor.page
            await expect(page.locator(".side")).to_be_hidden()
            await page.get_by_role("link", name="Open navigation").click()
            await page.locator(".side").get_by_role("link", name="Catalog").click()

            await expect(page.get_by_role("heading", level=1, name="Catalog")).to_be_visible()


class TestKeyboard:
    async def test_goes_anywhere_without_a_mouse(self, ada: Visitor) -> None:
        page = ada.page
        await expect(
            page.get_by_role("button", name="Search or run a command").first
        ).to_be_visible()
        await page.keyboard.press("Control+k")
        await expect(page.locator("dialog[open] input")).to_be_focused()
        await page.keyboard.type("catal")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1, name="Catalog")).to_be_visible()
        await expect(page.get_by_role("button", name="Pause")).to_be_visible()  # scripts run

        await page.keyboard.press("g")
        await page.keyboard.press("w")
        await expect(page.get_by_role("heading", level=1, name="Workloads")).to_be_visible()
        await expect(page.locator("[data-live-note][data-state=live]")).to_be_visible()

        await page.keyboard.press("/")
        await expect(page.get_by_role("searchbox")).to_be_focused()
        await page.keyboard.type("llama")
        await expect(page.locator("#list tbody tr")).to_have_count(1)
        assert "q=llama" in page.url
        assert ada.complaints == []

    async def test_gives_the_focus_back_after_a_dialog(
        self, ada: Visitor, server: PageServer
    ) -> None:
        page = ada.page
        await ada.go(f"/workloads/{server.active}")
        release = page.get_by_role("link", name="Release…")
        await release.focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("dialog[open] [data-cancel]")).to_be_focused()
        await page.keyboard.press("Escape")

        await expect(page.locator("dialog[open]")).to_have_count(0)
        await expect(release).to_be_focused()

    async def test_leaves_the_terminal(self, ada: Visitor, server: PageServer) -> None:
        page = ada.page
        await ada.go(f"/workloads/{server.active}")
        await page.keyboard.press("t")
        screen = page.locator("dialog#terminal .xterm-rows")
        await expect(screen).to_contain_text("$")
        await page.keyboard.type("nvidia-smi -L\n")
        await expect(screen).to_contain_text("GPU 3")
        await page.keyboard.press("Control+Shift+F6")
        await expect(page.get_by_role("button", name="Close terminal")).to_be_focused()
        await page.keyboard.press("Enter")

        await expect(page.locator("dialog#terminal")).to_be_hidden()
        assert ada.complaints == []


class TestLiveUpdates:
    async def test_show_a_change_made_elsewhere_without_moving_what_is_read(
        self, ada: Visitor, server: PageServer
    ) -> None:
        page = ada.page
        await ada.go("/workloads")
        await page.get_by_role("searchbox").fill("s")
        await expect(page.locator("[data-live-note][data-state=live]")).to_be_visible()
        await server.launch("made-elsewhere-s")

        await expect(page.get_by_text("made-elsewhere-s")).to_be_visible(timeout=4000)
        await expect(page.get_by_role("searchbox")).to_be_focused()
        await expect(page.get_by_role("searchbox")).to_have_value("s")

    async def test_say_so_when_the_server_is_lost_and_recover(self, ada: Visitor) -> None:
        page = ada.page
        await ada.go("/workloads")
        await expect(page.locator("[data-live-note][data-state=live]")).to_be_visible()
        await page.context.set_offline(offline=True)
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await expect(page.get_by_text("Reconnecting…")).to_be_visible(timeout=30_000)
        await page.context.set_offline(offline=False)

        await expect(page.locator("[data-live-note][data-state=live]")).to_be_visible(
            timeout=30_000
        )

    async def test_take_one_stream_for_ten_tabs(self, ada: Visitor, server: PageServer) -> None:
        context = ada.page.context
        streams: list[str] = []
        context.on(
            "request",
            lambda request: streams.append(request.url) if "/live" in request.url else None,
        )
        pages = [await context.new_page() for _ in range(9)]
        for page in pages:
            await page.goto(f"{server.url}/workloads")
            await expect(page.locator("[data-live-note][data-state=live]")).to_be_visible()
        await asyncio.sleep(0.5)

        assert len(streams) <= 1


class TestWithoutJavaScript:
    async def test_reads_and_submits(self, browser: Browser, server: PageServer) -> None:
        async with Visitor.arrive(browser, server.url, java_script_enabled=False) as visitor:
            await signed_in(visitor)
            page = visitor.page
            await server.run("to-give-back")
            await visitor.go("/workloads")
            await page.get_by_label("Actions for to-give-back").click()
            await page.get_by_role("link", name="Release…").click()
            await page.get_by_role("button", name="Release to-give-back").click()

            await expect(page.get_by_role("heading", level=1)).to_have_text("Release to-give-back")

    async def test_switches_the_theme(self, browser: Browser, server: PageServer) -> None:
        async with Visitor.arrive(browser, server.url, java_script_enabled=False) as visitor:
            await signed_in(visitor)
            page = visitor.page
            await page.get_by_role("button", name="Theme: switch light and dark").click()

            await expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
