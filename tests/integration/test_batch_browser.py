"""A batch of four in a browser, one failing on purpose: the page tells the truth throughout.

Everything is as ``make run`` starts it, with a script for the simulated fleet. Seen to fail when a
batch counted as over while one of its machines was still tried, and when what was retried was
offered to be retried again.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from playwright.async_api import Page, expect

from world.browser import Visitor, chromium, chromium_version
from world.running_cloud import RunningCloud, running_cloud

pytestmark = [pytest.mark.needs_chromium, pytest.mark.timeout(300)]

SCRIPT = {
    "seed": 1,
    "faults": [
        {"verb": "provision", "kind": "garbage", "count": 5, "said": "sweep-2"},
        # Long enough that whoever presses Cancel is sure to find them on their way.
        {"verb": "provision", "kind": "slow", "seconds": 15, "count": 3, "said": "brief"},
    ],
}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ada"
LEVEL = 90_000  # five tries of one step, each later than the one before


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "home").mkdir(mode=0o700)
    (folder / "home" / "faults.json").write_text(json.dumps(SCRIPT), encoding="utf-8")
    with running_cloud(folder) as running:
        yield running


@pytest.fixture
async def demo(faulty: RunningCloud, real_parts: dict[str, str]) -> AsyncIterator[Visitor]:
    real_parts["Chromium"] = chromium_version()
    async with chromium() as browser, Visitor.arrive(browser, faulty.url) as visitor:
        page = visitor.page
        await visitor.go("/login?kind=personal")
        await page.get_by_label("Username").fill("demo")
        await page.get_by_label("Password").first.fill(faulty.password_of("demo"))
        await page.get_by_role("main").get_by_role("button", name="Sign in").first.click()
        await expect(page).not_to_have_url(re.compile("/login"))
        yield visitor
        assert [one for one in visitor.complaints if "ERR_INTERNET_DISCONNECTED" not in one] == []


async def launch(visitor: Visitor, name: str, count: int) -> str:
    """Launch ``count`` machines through the pages; return the task's address."""
    page = visitor.page
    await visitor.go("/launch?sku=h200-sxm&gpu_count=1&step=capacity")
    await page.get_by_label("How many").fill(str(count))
    await visitor.press("Image")
    await page.locator("label.opt", has_text="PyTorch").click()
    await visitor.press("Network")
    await visitor.press("Access")
    await page.locator("#launch input[type=checkbox]").first.check()
    await page.locator("#launch button[name=go]").click()
    await page.get_by_label("Name").fill(name)
    await page.locator(".quote").get_by_role("button", name=re.compile("^Launch")).click()
    await expect(page).to_have_url(re.compile("/tasks/tsk_"))
    return page.url


async def told_by_the_api(page: Page, more: str = "") -> dict[str, Any]:
    address = re.sub(r"/tasks/([^/?#]+).*", rf"/api/v1/tasks/\1{more}", page.url)
    answer = await page.request.get(address)
    assert answer.ok, answer.status
    found: dict[str, Any] = await answer.json()
    return found


async def events_told(page: Page) -> list[str]:
    return await page.locator("#events li").all_inner_texts()


def badge(page: Page, name: str) -> Any:
    return page.locator("#members tr", has=page.get_by_role("link", name=name, exact=True))


class TestBatch:
    async def test_tells_the_truth_and_is_mended_by_a_retry(self, demo: Visitor) -> None:
        page = demo.page
        address = await launch(demo, "sweep", 4)
        await expect(page.locator("#members tbody tr")).to_have_count(4)

        await expect(badge(page, "sweep-2")).to_contain_text("Trying again", timeout=LEVEL)
        for name in ("sweep-1", "sweep-3", "sweep-4"):
            await expect(badge(page, name)).to_contain_text("Succeeded", timeout=LEVEL)
        assert (await told_by_the_api(page))["status"] == "running"
        await self._reload_loses_nothing(demo)
        await self._reconnect_loses_nothing(demo)

        told = await told_by_the_api(page)
        assert sorted(one["status"] for one in told["members"]) == ["failed", *["succeeded"] * 3]
        await page.get_by_role("button", name="Retry 1 that failed").dblclick()
        await expect(page).to_have_url(address)
        await expect(page.locator("#members tbody tr")).to_have_count(5)
        await expect(page.locator("#members tbody tr", has_text="Succeeded")).to_have_count(
            4, timeout=LEVEL
        )
        await expect(page.get_by_role("button", name="Retry")).to_have_count(0)
        machines = [one["status"] for one in (await told_by_the_api(page))["members"]]
        assert sorted(machines) == ["failed", *["succeeded"] * 4], "one retry for two presses"

    async def _reload_loses_nothing(self, demo: Visitor) -> None:
        page = demo.page
        before = await events_told(page)
        await page.reload()
        after = await events_told(page)
        assert set(before) <= set(after), "the story only grows"

    async def _reconnect_loses_nothing(self, demo: Visitor) -> None:
        """What happens while the network is away is there when it is back."""
        page = demo.page
        await page.context.set_offline(offline=True)
        await expect(page.locator("[data-live-note]").first).to_contain_text("Reconnecting")
        await page.context.set_offline(offline=False)
        await expect(badge(page, "sweep-2")).to_contain_text("Failed", timeout=LEVEL)
        shown = await events_told(page)
        told = await told_by_the_api(page, "/events")
        kinds = [one["kind"] for one in told["items"]]
        assert "task.failed" in kinds
        assert len(shown) == min(len(kinds), 25)

    async def test_is_cancelled_one_by_one_and_all_the_rest(self, demo: Visitor) -> None:
        page = demo.page
        await launch(demo, "brief", 3)
        rest = page.get_by_role("button", name=re.compile("Cancel the .* on the way"))
        await rest.click()

        await expect(rest).to_have_count(0)
        await expect(
            page.locator("#members tbody tr", has_text=re.compile("Cancelled|Succeeded"))
        ).to_have_count(3, timeout=LEVEL)
        await expect(page.locator("#verdict")).to_contain_text(re.compile("[Cc]ancelled"))
        told = await told_by_the_api(page)
        assert {one["status"] for one in told["members"]} <= {"cancelled", "succeeded"}
        assert "cancelled" in {one["status"] for one in told["members"]}
