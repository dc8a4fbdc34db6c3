"""The terminal as a person sees it, in a real browser: it drops, comes back, and nothing is lost.

Shells are strings that the test prints to. Seen to fail when what was typed while away was thrown
away, when what was dropped was not said, when the terminal answered questions that it was only
shown again, and when 24-bit colours were set against the page's policy.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, Locator, expect

from world.browser import Visitor, chromium, chromium_version
from world.terminals import Gateway, StringShells, gateway, level

pytestmark = [pytest.mark.needs_chromium, pytest.mark.timeout(180)]


@pytest.fixture
async def browser(real_parts: dict[str, str]) -> AsyncIterator[Browser]:
    real_parts["Chromium"] = chromium_version()
    async with chromium() as opened:
        yield opened


@asynccontextmanager
async def at_the_page(
    browser: Browser, gate: Gateway, **options: object
) -> "AsyncIterator[Visitor]":
    async with Visitor.arrive(browser, gate.origin, **options) as visitor:
        page = visitor.page
        await visitor.go("/login")
        await page.get_by_label("Username").fill("ada")
        await page.get_by_label("Password").first.fill("ada's long password")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page).to_have_url(re.compile(r"/$"))
        await visitor.go(f"/workloads/{gate.allocation_id}")
        yield visitor


def dialog_of(visitor: Visitor) -> Locator:
    return visitor.page.locator("dialog#terminal")


class TestTheTerminal:
    async def test_comes_back_with_all_that_was_typed_and_printed(self, browser: Browser) -> None:
        shells = StringShells()
        async with gateway(shells) as gate, at_the_page(browser, gate) as visitor:
            page, dialog = visitor.page, dialog_of(visitor)
            await page.get_by_role("button", name="Open terminal").click()
            await expect(dialog).to_contain_text(re.compile(r"Connected, \d+ ms"))
            (shell,) = shells.opened
            shell.print(b"ubuntu@sft:~$ ")
            screen = dialog.locator(".xterm-rows")
            await expect(screen).to_contain_text("ubuntu@sft:~$")
            await page.keyboard.type("before ")
            await level(lambda: shell.typed == b"before ")

            await page.context.set_offline(offline=True)
            await expect(dialog).to_have_attribute("data-state", "reconnecting")
            await page.keyboard.type("while away ")
            shell.print(b"printed meanwhile\r\n")
            await page.context.set_offline(offline=False)

            await expect(dialog).to_have_attribute("data-state", "live")
            await expect(screen).to_contain_text("printed meanwhile")
            await page.keyboard.type("after")
            await level(lambda: shell.typed == b"before while away after")
            assert len(shells.opened) == 1
            text = await screen.inner_text()
            assert text.count("printed meanwhile") == text.count("ubuntu@sft") == 1
            visitor.complaints[:] = [c for c in visitor.complaints if "ERR_INTERNET" not in c]
            assert visitor.complaints == []

    async def test_says_how_much_was_dropped(self, browser: Browser) -> None:
        shells = StringShells()
        async with gateway(shells) as gate, at_the_page(browser, gate) as visitor:
            page, dialog = visitor.page, dialog_of(visitor)
            await page.keyboard.press("t")
            await expect(dialog).to_have_attribute("data-state", "live")
            (shell,) = shells.opened
            await page.context.set_offline(offline=True)
            await expect(dialog).to_have_attribute("data-state", "reconnecting")
            for _ in range(24):
                shell.print((b"x" * 79 + b"\n") * 820)  # 65,600 bytes
            await level(lambda: shell.taken == 24 * 65_600)
            await page.context.set_offline(offline=False)

            await expect(dialog).to_have_attribute("data-state", "live")
            said = dialog.locator("[data-say]")
            await expect(said).to_have_text(
                re.compile(r"^5\d\d kB of older output were dropped\.$")
            )

    async def test_is_found_again_after_a_reload_and_answers_nothing_twice(
        self, browser: Browser
    ) -> None:
        shells = StringShells()
        async with gateway(shells) as gate, at_the_page(browser, gate) as visitor:
            page, dialog = visitor.page, dialog_of(visitor)
            await page.keyboard.press("t")
            await expect(dialog).to_have_attribute("data-state", "live")
            (shell,) = shells.opened
            shell.print(b"one\r\ntwo\r\n\x1b[c\x1b[6n$ ")
            await level(lambda: shell.typed.count(b"\x1b[") == 2)  # who and where it is, once
            answers = shell.typed

            await page.reload()
            await page.keyboard.press("t")

            screen = dialog.locator(".xterm-rows")
            await expect(screen).to_contain_text("session resumed, 2 lines replayed")
            await expect(screen).to_contain_text("$ ")
            await page.keyboard.type("x")
            await level(lambda: shell.typed == answers + b"x")
            assert visitor.complaints == []

    async def test_says_why_it_ended_and_opens_another(self, browser: Browser) -> None:
        shells = StringShells()
        async with gateway(shells) as gate, at_the_page(browser, gate) as visitor:
            page, dialog = visitor.page, dialog_of(visitor)
            await page.keyboard.press("t")
            await expect(dialog).to_have_attribute("data-state", "live")
            shells.opened[0].print(b"bye\r\n")
            shells.opened[0].lose()

            await expect(dialog.get_by_role("status")).to_contain_text("connection to the node")
            await expect(dialog).to_have_attribute("data-state", "ended")
            await dialog.get_by_role("button", name="Open a new shell").click()
            await expect(dialog).to_have_attribute("data-state", "live")
            shells.opened[1].print(b"a new one")
            await expect(dialog.locator(".xterm-rows")).to_contain_text("a new one")
            await gate.cloud.release(gate.ada, gate.allocation_id)

            await expect(dialog.get_by_role("status")).to_contain_text("no longer active")
            assert visitor.complaints == []

    async def test_lets_output_steer_nothing_outside(self, browser: Browser) -> None:
        shells = StringShells()
        async with gateway(shells) as gate, at_the_page(browser, gate) as visitor:
            page, dialog = visitor.page, dialog_of(visitor)
            await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
            await page.evaluate("navigator.clipboard.writeText('mine')")
            title = await page.title()
            await page.keyboard.press("t")
            await expect(dialog).to_have_attribute("data-state", "live")
            (shell,) = shells.opened
            shell.print(b"\x1b]0;pwned\x07\x1b]2;pwned\x07\x1b]52;c;cHduZWQ=\x07\x1b[21t\x1b[20t")
            shell.print(b"\x1b]8;;javascript:alert(1)\x07bad\x1b]8;;\x07 ")
            shell.print(b"\x1b]8;;https://example.org/x\x07good link\x1b]8;;\x07 done")
            screen = dialog.locator(".xterm-rows")
            await expect(screen).to_contain_text("good link done")

            assert await page.title() == title
            assert await page.evaluate("navigator.clipboard.readText()") == "mine"
            assert shell.typed == b"", "it tells nobody its title"
            box = await screen.locator("span", has_text="good link").last.bounding_box()
            assert box is not None
            await page.mouse.move(box["x"] + 20, box["y"] + 8)
            await page.mouse.click(box["x"] + 20, box["y"] + 8)
            bar = dialog.locator("[data-link]")
            await expect(bar).to_contain_text("https://example.org/x")
            assert len(page.context.pages) == 1, "nothing opens by itself"
            await bar.get_by_role("button", name="Cancel").click()
            await expect(bar).to_be_hidden()
            assert visitor.complaints == []

    async def test_has_tabs_sizes_and_a_way_out(self, browser: Browser) -> None:
        shells = StringShells()
        async with gateway(shells) as gate, at_the_page(browser, gate) as visitor:
            page, dialog = visitor.page, dialog_of(visitor)
            await page.keyboard.press("t")
            await expect(dialog).to_have_attribute("data-state", "live")
            await page.keyboard.press("Control+Shift+F6")
            close = dialog.get_by_role("button", name="Close terminal")
            await expect(close).to_be_focused()
            await dialog.get_by_role("button", name="New tab").click()
            await level(lambda: len(shells.opened) == 2)
            await expect(dialog).to_contain_text("tab 2 of 2")
            await page.keyboard.type("in two")
            await level(lambda: shells.opened[1].typed == b"in two")
            await dialog.get_by_role("button", name="tab 2 of 2").click()
            await page.keyboard.type("in one")
            await level(lambda: shells.opened[0].typed == b"in one")
            before = len(shells.opened[0].sizes)
            await dialog.get_by_role("button", name="Text size").click()
            await level(lambda: len(shells.opened[0].sizes) > before)
            await dialog.get_by_label("Screen-reader mode").check()
            shells.opened[0].print(b"read me out\r\n")
            await expect(dialog.locator(".xterm-accessibility").first).to_contain_text("read me")
            await close.click()

            await expect(dialog).to_be_hidden()
            await page.keyboard.press("t")
            await expect(dialog).to_contain_text("tab 1 of 2")
            assert len(shells.opened) == 2, "closing keeps the sessions"
            assert visitor.complaints == []
