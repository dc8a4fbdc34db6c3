"""A shell whose web process is killed: its window says so, and the audit knows the end of it.

Everything is as ``gpucloud up`` starts it, with one customer who uses a browser. Seen to fail when
no worker closed the leases of the dead, and when a window whose session is gone tried again.
"""

import re
import time
from collections.abc import Iterator

import asyncpg
import pytest
from playwright.async_api import expect

from world.api_customer import customer_of
from world.browser import Visitor, chromium, chromium_version
from world.running_cloud import RunningCloud, running_cloud

pytestmark = [pytest.mark.needs_chromium, pytest.mark.timeout(240)]
SECONDS = 60.0
COMMAND = "echo $((6 * 7))-again\r"


@pytest.fixture(scope="module")
def doomed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    with running_cloud(tmp_path_factory.mktemp("doomed")) as cloud:
        yield cloud


async def ends(
    database: "asyncpg.Connection[asyncpg.Record]", action: str, count: int
) -> list[str]:
    """Wait until there are so many audit rows of an action; return what they say changed."""
    query = "SELECT changes::text FROM audit_rows WHERE action = $1 ORDER BY id"
    until = time.monotonic() + SECONDS
    while len(rows := await database.fetch(query, action)) < count:
        assert time.monotonic() < until, f"{len(rows)} rows of {action}"
    return [str(row[0]) for row in rows]


class TestAShellWhoseProcessWasKilled:
    async def test_says_why_opens_another_and_is_ended_in_the_audit(
        self, doomed: RunningCloud, real_parts: dict[str, str]
    ) -> None:
        real_parts["Chromium"] = chromium_version()
        async with customer_of(doomed) as customer:
            launched = (await customer.launch("shell")).json()
            machine = launched["allocations"][0]["id"]
            await customer.until(f"/allocations/{machine}", "active")
        database = await asyncpg.connect(doomed.settings.database_url.reveal())
        await database.execute("SET ROLE gpucloud_platform")
        async with chromium() as browser, Visitor.arrive(browser, doomed.url) as visitor:
            page, dialog = visitor.page, visitor.page.locator("dialog#terminal")
            page.set_default_timeout(30_000)
            await visitor.go("/login")
            await page.get_by_label("Username").fill("demo")
            await page.get_by_label("Password").first.fill(doomed.password_of("demo"))
            await page.get_by_role("button", name="Sign in").click()
            await visitor.go(f"/workloads/{machine}")
            await page.get_by_role("button", name="Open terminal").click()
            await expect(dialog).to_have_attribute("data-state", "live", timeout=30_000)

            doomed.kill("web")
            await expect(dialog).to_have_attribute("data-state", "reconnecting")
            await expect(dialog).to_contain_text("Reconnecting")

            await expect(dialog).to_have_attribute("data-state", "ended", timeout=60_000)
            said = dialog.get_by_role("status")
            await expect(said).to_contain_text("the service went down or moved")
            assert len(await ends(database, "terminal.open", 1)) == 1
            assert await ends(database, "terminal.close", 0) == []
            await database.execute("UPDATE terminal_leases SET until = now()")  # 90 s, at once
            (end,) = await ends(database, "terminal.close", 1)
            assert '"process_lost"' in end

            await dialog.get_by_role("button", name="Open a new shell").click()
            await expect(dialog).to_have_attribute("data-state", "live", timeout=30_000)
            await page.keyboard.type(COMMAND)
            await expect(dialog.locator(".xterm-rows")).to_contain_text("42-again")
            assert len(await ends(database, "terminal.open", 2)) == 2
            assert await database.fetchval("SELECT count(*) FROM terminal_leases") == 1
            assert len(await ends(database, "terminal.close", 1)) == 1
            allowed = re.compile("ERR_|WebSocket|503|Failed to load")
            assert [c for c in visitor.complaints if not allowed.search(c)] == []
        await database.close()
