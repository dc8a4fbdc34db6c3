"""Saved views in a real browser: by keyboard alone, on a phone, and in the address."""

import re

import pytest
from playwright.async_api import Browser, Page, expect

from world.browser import Visitor
from world.page_server import PageServer
from world.screens import signed_in

pytestmark = [
    pytest.mark.needs_chromium,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="module"),
]
OWN = re.compile(r"/workloads\?view=v_[0-9a-z]{26}$")


async def reached(page: Page, name: str, *, by: str = "Tab") -> None:
    """Press a key until something of this name has the focus."""
    for _ in range(60):
        await page.keyboard.press(by)
        said = await page.evaluate(
            "document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText"
        )
        if str(said).strip() == name:
            return
    raise AssertionError(f"nothing called {name} is reached")


class TestSavedViews:
    async def test_are_kept_named_anew_and_forgotten_by_keyboard_alone(self, ada: Visitor) -> None:
        page = ada.page
        await ada.go("/workloads")
        await page.keyboard.press("/")
        await page.keyboard.type("sft")
        await expect(page).to_have_url(re.compile("q=sft"))
        await reached(page, "Save view…", by="Shift+Tab")
        await page.keyboard.press("Enter")
        dialog = page.locator("dialog.dlg")
        await expect(dialog.get_by_role("textbox", name="Name", exact=True)).to_be_focused()
        await page.keyboard.type("Fine-tunes 🚀")
        await page.keyboard.press("Enter")

        await expect(page).to_have_url(OWN)
        views = page.get_by_role("navigation", name="Saved views")
        tab = views.locator("[aria-current=page]")
        await expect(tab).to_have_text(re.compile(r"Fine-tunes 🚀\d"))
        await expect(page.locator("[data-search]")).to_have_value("sft")

        await page.locator("summary[aria-label^='View Fine-tunes']").focus()
        await page.keyboard.press("Enter")
        await reached(page, "Rename…")
        await page.keyboard.press("Enter")
        await expect(dialog.get_by_role("textbox", name="Name", exact=True)).to_have_value(
            "Fine-tunes 🚀"
        )
        await page.keyboard.press("Control+a")
        await page.keyboard.type("Tuning")
        await page.keyboard.press("Enter")
        await expect(tab).to_have_text(re.compile(r"Tuning\d"))

        await page.keyboard.press("/")
        await page.keyboard.press("Control+a")
        await page.keyboard.type("eval")
        await expect(page.get_by_role("button", name="Save changes")).to_be_visible()
        await page.get_by_role("link", name="Discard").press("Enter")
        await expect(page).to_have_url(OWN)

        await page.locator("summary[aria-label^='View Tuning']").focus()
        await page.keyboard.press("Enter")
        await reached(page, "Delete view…")
        await page.keyboard.press("Enter")
        await expect(dialog.get_by_role("link", name="Cancel")).to_be_focused()
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await expect(page).to_have_url(re.compile("/workloads$"))
        await expect(views).not_to_contain_text("Tuning")
        assert ada.complaints == []

    async def test_are_refused_in_the_dialog_they_were_asked_in(self, ada: Visitor) -> None:
        page = ada.page
        for address, then in (("active", OWN), ("released", re.compile("view=released"))):
            await ada.go(f"/workloads?view={address}")
            await page.get_by_role("link", name="Save view…").click()
            await page.get_by_role("textbox", name="Name", exact=True).fill("Twice")
            await page.get_by_role("button", name="Save view").click()
            await expect(page).to_have_url(then)

        alert = page.locator("dialog.dlg [role=alert]").first
        await expect(alert).to_contain_text("You have a view called Twice already.")

    async def test_fit_on_a_phone(self, browser: Browser, server: PageServer) -> None:
        async with Visitor.arrive(
            browser, server.url, viewport={"width": 390, "height": 844}, has_touch=True
        ) as visitor:
            await signed_in(visitor)
            page = visitor.page
            for name in ("A view with a rather long name of its own", "Another", "Night runs"):
                await visitor.go("/workloads?view=attention")
                await page.get_by_role("link", name="Save view…").tap()
                await page.get_by_role("textbox", name="Name", exact=True).fill(name)
                await page.get_by_role("button", name="Save view").tap()
                await expect(page).to_have_url(OWN)

            beyond = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert beyond <= 0
            await expect(page.locator(".views [aria-current=page]")).to_be_in_viewport()
            await page.locator("summary[aria-label='View Night runs']").tap()
            rename = page.get_by_role("link", name="Rename…")
            await expect(rename).to_be_in_viewport()
            box = await rename.bounding_box()
            assert box is not None
            assert box["height"] >= 24
            assert visitor.complaints == []
