from datetime import timedelta

from catalog_builders import NEW_YEAR, a_price, a_sku
from gpucloud_core.catalog.offers import offers
from gpucloud_core.kernel.ids import SkuId


class TestOffers:
    def test_show_the_price_now_and_what_is_free(self) -> None:
        sku = a_sku(allowed_gpu_counts=(8, 1))
        later = a_price(1, starts_at=NEW_YEAR + timedelta(days=1))

        (offer,) = offers([sku], [a_price(7), later], {sku.id: {1: 3, 2: 9}}, NEW_YEAR)

        assert offer.price_micros_per_gpu_hour == 7
        assert offer.allowed_gpu_counts == (1, 8)
        assert offer.available == {"1": 3, "8": 0}
        assert offer.as_of == NEW_YEAR

    def test_leave_out_what_is_not_sold_or_has_no_price_yet(self) -> None:
        skus = [a_sku("off", active=False), a_sku("free"), a_sku("on"), a_sku("later")]
        prices = [
            a_price(sku="off"),
            a_price(sku="on"),
            a_price(sku="later", starts_at=NEW_YEAR + timedelta(days=1)),
        ]

        assert [offer.sku for offer in offers(skus, prices, {}, NEW_YEAR)] == ["on"]

    def test_come_cheapest_first_then_by_name(self) -> None:
        skus = [a_sku(name) for name in ("c", "b", "a")]
        prices = [a_price(2, sku="a"), a_price(1, sku="b"), a_price(1, sku="c")]

        assert [offer.sku for offer in offers(skus, prices, {}, NEW_YEAR)] == ["b", "c", "a"]

    def test_never_tell_how_large_the_fleet_is(self) -> None:
        (offer,) = offers([a_sku()], [a_price()], {SkuId("h200-sxm"): {1: 10_000}}, NEW_YEAR)

        assert offer.available["1"] == 64
