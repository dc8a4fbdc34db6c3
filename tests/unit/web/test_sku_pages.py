"""The pages of SKUs: what is sold from when, and that a past price stays what it was.

Seen to fail when a new price replaced the one in force, when a price of the past was taken back,
and when what runs was shown at the price of now.
"""

from datetime import timedelta

import pytest

from gpucloud_adapters.memory.cloud import SKU
from gpucloud_adapters.stored.kinds import PRICES, SKUS
from gpucloud_core.catalog.model import Beside, Price, Sku
from page_visitor import PageVisitor, launched, links
from world.operator_pages import as_operator

LIST = "/admin/skus"
ONE = f"{LIST}/{SKU}"
ASKED = {
    "id": "b200-sxm",
    "display_name": "B200 SXM 180 GB",
    "vendor": "NVIDIA",
    "gpu_model": "NVIDIA B200",
    "gpu_memory_gib": "179",
    "runtime": "container",
    "region": "eu-fra-1",
    "allowed_gpu_counts": "1, 2 8",
    "vcpus_per_gpu": "24",
    "memory_gib_per_gpu": "224",
    "summary": "The newest.",
    "demand_mix": "8:10, 1:60",
}


@pytest.fixture
async def olga(visitor: PageVisitor) -> PageVisitor:
    return await as_operator(visitor)


def prices(olga: PageVisitor) -> list[Price]:
    rows = olga.cloud.transactions.database.rows(PRICES)
    return sorted(rows, key=lambda price: price.starts_at)


def sku(olga: PageVisitor, sku_id: str = SKU) -> Sku:
    return next(row for row in olga.cloud.transactions.database.rows(SKUS) if row.id == sku_id)


async def put(olga: PageVisitor, path: str, **fields: object) -> str:
    """Fill in the form of a page, and return what is shown then."""
    asked = await olga.get(path)
    answer = await olga.submit(asked, path, fields)
    return (await olga.follow(answer)).text if answer.status_code == 303 else answer.text


class TestSkuPages:
    async def test_add_what_is_sold_once_it_has_a_price(self, olga: PageVisitor) -> None:
        (image,) = sku(olga).image_ids
        asked = await put(olga, f"{LIST}/new", **ASKED, image_ids=image)
        assert "Set the price of B200 SXM 180 GB" in asked
        assert "No price yet" in (await olga.get(LIST)).text

        shown = await put(olga, f"{LIST}/b200-sxm/price", price="4.99")

        assert "$4.9900 / GPU-h" in shown
        made = sku(olga, "b200-sxm")
        assert (made.allowed_gpu_counts, made.memory_mib_per_gpu) == ((1, 2, 8), 224 * 1024)
        assert made.image_ids == (image,)
        assert made.demand_mix == ((1, 60), (8, 10))

    async def test_say_at_the_field_what_will_not_do(self, olga: PageVisitor) -> None:
        wrong = {**ASKED, "id": "No SKU", "allowed_gpu_counts": "many", "vcpus_per_gpu": "x"}
        shown = await put(olga, f"{LIST}/new", **wrong)

        assert "Give the sizes as numbers" in shown
        assert 'value="many"' in shown, "what was typed is kept"
        assert len(olga.cloud.transactions.database.rows(SKUS)) == 1

    async def test_change_only_what_was_changed(self, olga: PageVisitor) -> None:
        before = sku(olga)
        fields = {
            "display_name": "H200",
            "summary": before.summary,
            "allowed_gpu_counts": "8, 4",
            "vcpus_per_gpu": str(before.vcpus_per_gpu),
            "memory_gib_per_gpu": "195",
            "image_ids": before.image_ids[0],
            "demand_mix": "1:60, 2:15, 4:15, 8:10",
        }

        assert "Sizes" in await put(olga, f"{ONE}/edit", **fields)

        after = sku(olga)
        assert (after.display_name, after.allowed_gpu_counts) == ("H200", (8, 4))
        assert after.memory_mib_per_gpu == before.memory_mib_per_gpu, "GiB were only shown"
        row = olga.cloud.transactions.database.audit_rows[-1]
        assert set(row.changes) == {"display_name", "allowed_gpu_counts"}

    async def test_say_what_comes_with_each_gpu(self, olga: PageVisitor) -> None:
        before = sku(olga)
        fields = {
            "display_name": before.display_name,
            "summary": before.summary,
            "allowed_gpu_counts": ", ".join(map(str, before.allowed_gpu_counts)),
            "vcpus_per_gpu": str(before.vcpus_per_gpu),
            "memory_gib_per_gpu": str(round(before.memory_mib_per_gpu / 1024)),
            "image_ids": before.image_ids[0],
            "disk_per_gpu": "on",
            "demand_mix": "1:60, 2:15, 4:15, 8:10",
        }

        shown = await put(olga, f"{ONE}/edit", **fields)

        assert "a local NVMe disk" in shown
        assert sku(olga).beside is Beside.DISK
        row = olga.cloud.transactions.database.audit_rows[-1]
        assert row.changes == {"beside": ["nothing", "disk"]}
        assert "With each GPU a local NVMe disk" in (await olga.get("/infra/catalog")).text
        assert "with each GPU a local NVMe disk" in (await olga.get("/launch")).text

    async def test_say_what_is_expected_of_launches(self, olga: PageVisitor) -> None:
        before = sku(olga)
        fields = {
            "display_name": before.display_name,
            "summary": before.summary,
            "allowed_gpu_counts": ", ".join(map(str, before.allowed_gpu_counts)),
            "vcpus_per_gpu": str(before.vcpus_per_gpu),
            "memory_gib_per_gpu": str(round(before.memory_mib_per_gpu / 1024)),
            "image_ids": before.image_ids[0],
        }

        for wrong, words in (
            ("1:60, 1:5, many", "Give sizes with weights"),
            ("1:99999", "a weight from 1 to 10,000"),
        ):
            assert words in await put(olga, f"{ONE}/edit", **fields, demand_mix=wrong)
        shown = await put(olga, f"{ONE}/edit", **fields, demand_mix="8:3, 1:1")

        assert "1 GPU 25 %, 8 GPUs 75 %" in shown
        assert sku(olga).demand_mix == ((1, 1), (8, 3))
        row = olga.cloud.transactions.database.audit_rows[-1]
        assert set(row.changes) == {"demand_mix"}

    async def test_take_it_off_sale_and_put_it_back(self, olga: PageVisitor) -> None:
        await launched(olga)
        await olga.cloud.work()
        asked = (await olga.get(f"{ONE}/archive")).text
        assert "1 allocation on it goes on and keeps its price." in asked

        assert "Off sale" in await put(olga, f"{ONE}/archive")
        assert SKU not in (await olga.get("/infra/catalog")).text
        assert "On sale" in await put(olga, f"{ONE}/restore")
        assert sku(olga).active


class TestPrices:
    async def test_begin_an_interval_and_leave_the_past_alone(self, olga: PageVisitor) -> None:
        (first,) = prices(olga)
        await launched(olga)
        await olga.cloud.work()
        await olga.cloud.pass_time(timedelta(hours=1))

        shown = await put(olga, f"{ONE}/price", price="2.99")

        assert prices(olga)[0] == first
        assert "In force" in shown
        assert "Past" in shown
        assert "\N{MINUS SIGN}9.1 %" in shown
        assert "an earlier price, kept" in shown
        assert "1 allocation was launched at an earlier price, and keeps it." in shown

    async def test_planned_are_taken_back_until_they_begin(self, olga: PageVisitor) -> None:
        begins = olga.cloud.clock.now() + timedelta(days=2)
        shown = await put(olga, f"{ONE}/price", price="1.00", starts_at=begins.isoformat())
        assert "Planned" in shown
        (place,) = (link for link in links(shown) if "withdraw" in link)

        kept = await put(olga, place)

        assert "Planned" not in kept
        assert len(prices(olga)) == 1

    async def test_that_have_begun_are_not_taken_back(self, olga: PageVisitor) -> None:
        begins = olga.cloud.clock.now() + timedelta(minutes=2)
        shown = await put(olga, f"{ONE}/price", price="1.00", starts_at=begins.isoformat())
        (place,) = (link for link in links(shown) if "withdraw" in link)
        asked = await olga.get(place)
        await olga.cloud.pass_time(timedelta(minutes=3))

        refused = await olga.submit(asked, place, {})

        assert refused.status_code == 409
        assert "This price has begun" in refused.text
        assert len(prices(olga)) == 2

    @pytest.mark.parametrize(
        ("price", "starts_at", "words"),
        [
            ("much", "", "Type a price"),
            ("0", "", "Give a price above zero"),
            ("1.00", "2020-01-01T00:00", "A price begins now or later"),
        ],
    )
    async def test_of_no_sense_are_refused(
        self, olga: PageVisitor, price: str, starts_at: str, words: str
    ) -> None:
        shown = await put(olga, f"{ONE}/price", price=price, starts_at=starts_at)

        assert words in shown
        assert len(prices(olga)) == 1


class TestRestriction:
    @pytest.mark.parametrize("path", [LIST, f"{LIST}/new", ONE, f"{ONE}/edit", f"{ONE}/price"])
    async def test_holds_for_customers(self, visitor: PageVisitor, path: str) -> None:
        await visitor.arrive("eve")

        assert (await visitor.get(path)).status_code == 403
