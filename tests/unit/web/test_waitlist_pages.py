"""The waitlist without JavaScript: offered where it is sold out, joined, seen, and left."""

from page_visitor import PageVisitor, heading_of, launched, links

JOIN = "/infra/waitlist/join"


async def sold_out(visitor: PageVisitor) -> PageVisitor:
    """Ada has everything there is."""
    await visitor.arrive(dollars=1000)
    for _ in range(8):
        await launched(visitor)
    await visitor.cloud.work()
    return visitor


class TestWaitlist:
    async def test_is_offered_where_it_is_sold_out(self, visitor: PageVisitor) -> None:
        ada = await sold_out(visitor)

        catalog = await ada.get("/infra/catalog")
        assert "Unavailable" in catalog.text
        assert f"{JOIN}?sku=h200-sxm&gpu_count=1&kind=launch" in links(catalog.text)
        review = await ada.get("/launch?sku=h200-sxm&gpu_count=4&step=review")
        assert f"{JOIN}?sku=h200-sxm&gpu_count=4" in links(review.text)

    async def test_is_joined_seen_and_left(self, visitor: PageVisitor) -> None:
        ada = await sold_out(visitor)
        form = await ada.get(f"{JOIN}?sku=h200-sxm&gpu_count=4")
        assert heading_of(form.text) == "Wait for H200 SXM 141 GB ×4"
        assert "No timer makes room for it. 0 of 16 held GPUs have a timer" in form.text
        key = form.text.partition('name="keys" value="')[2].partition('"')[0]
        fields = {"kind": "launch", "keys": key, "days": "7", "limit": "4.50"}

        entries = await ada.follow(await ada.submit(form, JOIN, fields))

        assert "1 of 1" in entries.text
        assert "$4.5000 / GPU-h" in entries.text
        withdraw = next(link for link in links(entries.text) if link.endswith("/withdraw"))
        left = await ada.follow(await ada.submit(await ada.get(withdraw), withdraw, {}))
        assert "Nothing is waited for" in left.text
        assert "Withdrawn" in (await ada.get("/infra/waitlist?view=over")).text

    async def test_names_each_field_that_will_not_do(self, visitor: PageVisitor) -> None:
        ada = await sold_out(visitor)
        form = await ada.get(f"{JOIN}?sku=h200-sxm&gpu_count=4")

        dear = await ada.submit(form, JOIN, {"kind": "launch", "days": "7", "limit": "much"})
        keyless = await ada.submit(form, JOIN, {"kind": "launch", "days": "7"})

        assert dear.status_code == keyless.status_code == 422
        assert "Type a price per GPU and hour such as 2.49" in dear.text
        assert "A launch needs at least one SSH key" in keyless.text

    async def test_of_an_unknown_size_is_not_there(self, visitor: PageVisitor) -> None:
        await visitor.arrive()

        assert (await visitor.get(f"{JOIN}?sku=h200-sxm&gpu_count=3")).status_code == 404
        assert (await visitor.get(f"{JOIN}?sku=none&gpu_count=1")).status_code == 404
