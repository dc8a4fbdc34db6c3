"""Picture every screen at two widths in both themes: what ``make screenshots`` runs.

The set lies in docs/screenshots, one WebP per picture, named after the route: every route in either
theme at either width, and under ``states`` each screen in each of its states, wide and light and
narrow and dark. Pictures are of clouds in memory with something in every state, so they need no
server and come out the same.
"""

import asyncio
import base64
import logging
import re
import sys
from pathlib import Path
from typing import Final

from playwright.async_api import Browser

from world.browser import Visitor, chromium
from world.every_state import answering, drawn
from world.page_server import PageServer, page_server
from world.screens import paths_of, signed_in

WIDTHS: Final = {1440: 900, 390: 844}
THEMES: Final = ("light", "dark")
QUALITY: Final = 26
TALLEST: Final = 1500


def name_of(path: str, server: PageServer) -> str:
    """Return a file name for an address, such as ``workloads-id--tab-cost``."""
    for kind, known in server.known.items():
        path = path.replace(known, kind)
    plain = re.sub(r"[^a-z0-9]+", "-", path.lower()).strip("-")
    return plain or "home"


async def picture(visitor: Visitor, file: Path) -> None:
    """Write what the window shows, down to a limit, as WebP."""
    page = visitor.page
    session = await page.context.new_cdp_session(page)
    width, height = await page.evaluate(
        f"[innerWidth, Math.min(document.documentElement.scrollHeight, {TALLEST})]"
    )
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    options = {"format": "webp", "quality": QUALITY, "clip": clip, "captureBeyondViewport": True}
    answer = await session.send("Page.captureScreenshot", options)
    await session.detach()
    await asyncio.to_thread(file.write_bytes, base64.b64decode(answer["data"]))


async def shoot(browser: Browser, server: PageServer, folder: Path, only: str) -> None:
    """Take every picture whose name contains ``only``."""
    for width, height in WIDTHS.items():
        for theme in THEMES:
            async with Visitor.arrive(
                browser,
                server.url,
                viewport={"width": width, "height": height},
                color_scheme=theme,
                reduced_motion="reduce",
            ) as visitor:
                await signed_in(visitor)
                for path in paths_of(server):
                    name = name_of(path, server)
                    if only in name:
                        await visitor.go(path)
                        await visitor.page.evaluate("document.fonts.ready.then(() => true)")
                        await picture(visitor, folder / f"{name}-{width}-{theme}.webp")


async def shoot_states(browser: Browser, server: PageServer, folder: Path, only: str) -> None:
    """Take a picture of every state whose screen or name contains ``only``."""
    pages = await drawn(only)
    for (width, height), theme in zip(WIDTHS.items(), THEMES, strict=True):
        async with Visitor.arrive(
            browser,
            server.url,
            viewport={"width": width, "height": height},
            color_scheme=theme,
            reduced_motion="reduce",
        ) as visitor:
            for state, html in pages.items():
                await visitor.page.route("**/a-state", answering(html))
                await visitor.go("/a-state")
                await visitor.page.evaluate("document.fonts.ready.then(() => true)")
                name = name_of(state, server)
                await picture(visitor, folder / f"{name}-{width}-{theme}.webp")
                await visitor.page.unroute("**/a-state")


async def main(folder: Path, only: str = "") -> None:
    """Take the pictures and put them in ``folder``."""
    logging.getLogger().setLevel(logging.WARNING)  # a line for each request would hide what matters
    async with page_server() as server, chromium() as browser:
        await shoot(browser, server, folder, only)
        await shoot_states(browser, server, folder / "states", only)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    (target / "states").mkdir(parents=True, exist_ok=True)
    asyncio.run(main(target, *sys.argv[2:]))
