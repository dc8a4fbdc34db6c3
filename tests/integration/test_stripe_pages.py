"""The simulated pay page in a real browser: with and without scripts, in both themes, narrow."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]  # no types
from playwright.async_api import Browser

from simulated_stripe import SimulatedStripe, simulated_stripe
from world.browser import chromium, chromium_version

pytestmark = [pytest.mark.needs_chromium]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[SimulatedStripe]:
    async with simulated_stripe(tmp_path) as server:
        yield server


@pytest.fixture
async def browser(real_parts: dict[str, str]) -> AsyncIterator[Browser]:
    async with chromium() as browser:
        real_parts["Chromium"] = chromium_version()
        yield browser


async def page_of(server: SimulatedStripe) -> str:
    session = await server.client().v1.checkout.sessions.create_async(
        {
            "mode": "payment",
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {
                        "currency": "usd",
                        "unit_amount": 2500,
                        "product_data": {"name": "Account credit"},
                    },
                }
            ],
            "success_url": f"{server.url}/healthz?session={{CHECKOUT_SESSION_ID}}",
            "cancel_url": f"{server.url}/healthz",
        }
    )
    assert session.url is not None
    return session.url


class TestThePayPage:
    async def test_is_paid_without_a_script_after_a_decline(
        self, server: SimulatedStripe, browser: Browser
    ) -> None:
        context = await browser.new_context(java_script_enabled=False)
        page = await context.new_page()
        await page.goto(await page_of(server))
        await page.get_by_label("Name").fill("Ada")
        await page.get_by_label("Card number").fill("4000 0000 0000 9995")
        await page.get_by_label("Expires").fill("12 / 34")
        await page.get_by_label("Security code").fill("123")
        await page.get_by_role("button", name="Pay $25.00").click()
        assert await page.get_by_role("alert").get_by_text("insufficient funds").is_visible()

        await page.get_by_label("Card number").fill("4242 4242 4242 4242")
        await page.get_by_label("Security code").fill("123")
        await page.get_by_role("button", name="Pay $25.00").click()

        await page.wait_for_url(f"{server.url}/healthz?session=cs_test_*")
        await context.close()

    @pytest.mark.parametrize("theme", ["light", "dark"])
    async def test_has_no_fault_that_axe_finds_and_fits_a_phone(
        self, server: SimulatedStripe, browser: Browser, theme: str
    ) -> None:
        context = await browser.new_context(
            color_scheme="dark" if theme == "dark" else "light",
            viewport={"width": 320, "height": 700},
            bypass_csp=True,  # axe is a script, and the page allows none
        )
        page = await context.new_page()
        await page.goto(await page_of(server))
        await page.get_by_text("Numbers to try").click()
        untouched = await Axe().run(page)
        await page.get_by_role("button", name="Pay $25.00").click()
        refused = await Axe().run(page)

        assert untouched.violations_count == 0, untouched.generate_report()
        assert refused.violations_count == 0, refused.generate_report()
        assert await page.evaluate("document.documentElement.scrollWidth") == 320
        await context.close()
