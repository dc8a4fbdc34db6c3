"""The timer of a workload on its pages: set, refused where it was typed, and taken away."""

from collections.abc import AsyncIterator

import pytest
from litestar.testing import AsyncTestClient

from api_world import memory_app
from gpucloud_adapters.memory.cloud import MemoryCloud
from gpucloud_adapters.stored.kinds import ALLOCATIONS
from page_visitor import PageVisitor


@pytest.fixture
async def ada() -> AsyncIterator[PageVisitor]:
    cloud = await MemoryCloud.found()
    async with AsyncTestClient(memory_app(cloud)) as client:
        client.follow_redirects = False
        yield await PageVisitor(cloud, client).arrive()


async def running(ada: PageVisitor) -> str:
    page = await ada.get("/launch?sku=h200-sxm&gpu_count=1&step=capacity")
    page = await ada.follow(await ada.submit(page, "/launch", {"go": "review"}))
    await ada.submit(page, "/launch", {"go": "launch", "name": "notebook"})
    await ada.cloud.work()
    (row,) = ada.cloud.transactions.database.rows(ALLOCATIONS)
    return f"/workloads/{row.id}"


class TestTimerPage:
    async def test_sets_a_time_to_live_and_takes_it_away(self, ada: PageVisitor) -> None:
        workload = await running(ada)
        page = await ada.get(f"{workload}/timer")
        assert "Now: when you say so." in page.text
        assert "whether it is used or not" in page.text

        asked = {"kind": "ttl", "hours": "1.5"}
        shown = await ada.follow(await ada.submit(page, f"{workload}/timer", asked))
        assert "01:30, time to live" in shown.text

        page = await ada.get(f"{workload}/timer")
        assert 'value="1.5"' in page.text
        shown = await ada.follow(await ada.submit(page, f"{workload}/timer", {"kind": "none"}))
        assert "when you say so" in shown.text

    async def test_schedules_an_instant_in_the_readers_zone(self, ada: PageVisitor) -> None:
        workload = await running(ada)
        ada.cookies["gpucloud-zone"] = "Europe/Berlin"
        page = await ada.get(f"{workload}/timer")

        asked = {"kind": "schedule", "at": "2026-01-02T18:00"}
        await ada.submit(page, f"{workload}/timer", asked)

        (row,) = ada.cloud.transactions.database.rows(ALLOCATIONS)
        assert row.releases_at is not None
        assert row.releases_at.isoformat() == "2026-01-02T18:00:00+01:00"

    @pytest.mark.parametrize(
        ("asked", "words"),
        [
            ({"kind": "ttl", "hours": "soon"}, "Type hours, such as 8 or 1.5."),
            ({"kind": "ttl", "hours": "1e99"}, "between 5 minutes and 90 days"),
            ({"kind": "schedule", "at": "2020-01-01T00:00"}, "in the next 90 days"),
            ({"kind": "schedule", "at": ""}, "Choose a day and a time."),
        ],
    )
    async def test_says_what_is_wrong_beside_what_was_typed(
        self, ada: PageVisitor, asked: dict[str, str], words: str
    ) -> None:
        workload = await running(ada)
        page = await ada.get(f"{workload}/timer")

        refused = await ada.submit(page, f"{workload}/timer", asked)

        assert refused.status_code == 422
        assert words in refused.text
        assert f'value="{asked["kind"]}" checked' in refused.text
