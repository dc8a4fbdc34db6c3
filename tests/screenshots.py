"""Picture every screen at two widths in both themes: what ``make screenshots`` runs.

The set lies in docs/screenshots, one WebP per picture, named after the route. Pictures are of a
cloud in memory with something in every state, so they need no server and come out the same.
"""

import asyncio
import base64
import re
import sys
from pathlib import Path
from typing import Final

from playwright.async_api import Browser

from world.browser import Visitor, chromium
from world.page_server import PageServer, page_server
from world.screens import paths_of, signed_in

WIDTHS: Final = {1440: 900, 390: 844}
THEMES: Final = ("light", "dark")
QUALITY: Final = 40
TALLEST: Final = 1800


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


async def main(folder: Path, only: str = "") -> None:
    """Take the pictures and put them in ``folder``."""
    async with page_server() as server, chromium() as browser:
        await shoot(browser, server, folder, only)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(target, *sys.argv[2:]))
