"""A real Chromium, driven by Playwright, that talks to us alone and reports every complaint."""

import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
WIDE = {"width": 1440, "height": 900}

expect.set_options(timeout=20_000)  # a level is waited for, on a machine that does much else


def chromium_version() -> str:
    """Return what the installed Chromium says of itself."""
    program = shutil.which("chromium") or "chromium"
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return answer.stdout.split()[1]


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start Debian's Chromium and end it."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(QUIET)
        )
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Visitor:
    """One person at one browser window. ``complaints`` has every error the page reported."""

    page: Page
    origin: str
    complaints: list[str] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def arrive(
        cls, browser: Browser, origin: str, **options: Any
    ) -> "AsyncIterator[Visitor]":
        context = await browser.new_context(**({"viewport": WIDE} | options))
        page = await context.new_page()
        visitor = cls(page, origin)
        page.on("console", visitor.hear)
        page.on("pageerror", lambda error: visitor.complaints.append(str(error)))
        try:
            yield visitor
        finally:
            await context.close()

    def hear(self, message: ConsoleMessage) -> None:
        if message.type == "error" or "Content Security Policy" in message.text:
            self.complaints.append(message.text)

    async def go(self, path: str) -> None:
        await self.page.goto(self.origin + path)

    async def press(self, name: str) -> None:
        """Press the one button or link of this name in the page's main part."""
        main = self.page.locator("main, dialog[open]")
        button = main.get_by_role("button", name=name)
        link = main.get_by_role("link", name=name)
        await button.or_(link).first.click()
