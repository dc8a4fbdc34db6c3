"""What axe finds on a page: faults of access, by the rules of WCAG 2.2 AA and good practice."""

from pathlib import Path
from typing import Any, Final

from playwright.async_api import Page

AXE: Final = Path(__file__).resolve().parents[2] / "node_modules" / "axe-core" / "axe.min.js"
RULES: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


async def faults(page: Page) -> list[str]:
    """Return what axe finds, worst first, as rule and element."""
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    found: dict[str, Any] = await page.evaluate(
        "rules => axe.run(document, {resultTypes: ['violations'], runOnly: rules})", RULES
    )
    return [
        f"{fault['impact']} {fault['id']}: {fault['nodes'][0]['html'][:120]}"
        for fault in found["violations"]
    ]
