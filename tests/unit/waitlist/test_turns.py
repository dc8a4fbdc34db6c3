"""Turns and forecasts as pure functions: fair, first come first served, and never too hopeful."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gpucloud_core.allocations.request import LaunchRequest
from gpucloud_core.kernel.ids import NodeId, ProjectId, SkuId, TenantId, UserId, WaitlistId
from gpucloud_core.nodes.model import NodeMode
from gpucloud_core.nodes.systems import hgx_h200
from gpucloud_core.placement.fleet_image import FleetImage
from gpucloud_core.placement.model import NodeCapacity, PlacementRequest
from gpucloud_core.waitlist.forecast import Holder, forecast
from gpucloud_core.waitlist.lifecycle import WaitEvent
from gpucloud_core.waitlist.model import WaitEntry, WaitKind, WaitState
from gpucloud_core.waitlist.turns import End, PassOver, Serve, in_turn, next_turn, take_turns

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POOL = "eu-1/NVIDIA H200/container"
TENANTS = ("ten_a", "ten_b", "ten_c")
PRICE = 3_000_000


def entry(number: int, tenant: str = "ten_a", gpus: int = 1, **more: object) -> WaitEntry:
    plain = WaitEntry(
        id=WaitlistId(f"wtl_{number:04d}"),
        tenant_id=TenantId(tenant),
        project_id=ProjectId("prj"),
        user_id=UserId("usr"),
        kind=WaitKind.LAUNCH,
        request=LaunchRequest(sku_id="h200", gpu_count=gpus),
        sku_id="h200",
        gpu_count=gpus,
        pool=POOL,
        turn=number,
        state_since=NOW,
        expires_at=NOW + timedelta(days=7),
        due_at=NOW,
        created_at=NOW + timedelta(seconds=number),
    )
    return replace(plain, **more)  # type: ignore[arg-type]  # a test's shorthand


def asks(gpus: int) -> PlacementRequest:
    return PlacementRequest(
        sku_id=SkuId("h200"), pool=POOL, gpu_count=gpus, vcpus=gpus, memory_mib=gpus
    )


def an_image(*free: int) -> FleetImage:
    """Return nodes of eight GPUs with these masks free."""
    image = FleetImage()
    topology = hgx_h200(seed="x")
    image.learn(topology)
    for number, mask in enumerate(free):
        image.put(
            NodeCapacity(
                node_id=NodeId(f"nod_{number}"),
                pool=POOL,
                system=topology.system,
                mode=NodeMode.CONTAINER,
                gpu_count=8,
                approved_mask=0xFF,
                free_mask=mask,
                free_vcpus=100,
                free_memory_mib=100,
                sellable=True,
            )
        )
    return image


def turns_of(*entries: WaitEntry, free: int, price: int | None = PRICE) -> dict[str, object]:
    requests: dict[str, PlacementRequest] = {each.id: asks(each.gpu_count) for each in entries}
    prices = {} if price is None else {"h200": price}
    taken = take_turns(entries, an_image(free), requests, prices, NOW)
    return {turn.entry.id: turn for turn in taken}


class TestNextTurn:
    @given(
        arrivals=st.lists(st.sampled_from(TENANTS), max_size=30),
        serves=st.lists(st.booleans(), max_size=60),
    )
    def test_serves_tenants_who_wait_alternately(
        self, arrivals: list[str], serves: list[bool]
    ) -> None:
        """While two tenants both wait, neither is served twice more than the other."""
        known: list[WaitEntry] = []
        waiting: list[WaitEntry] = []
        ahead = dict.fromkeys([(a, b) for a in TENANTS for b in TENANTS if a != b], 0)
        steps = [*arrivals, *serves]
        for number, step in enumerate(steps):
            if isinstance(step, str):
                own = [each for each in known if each.tenant_id == step]
                made = entry(number, step, turn=next_turn(waiting, own))
                known.append(made)
                waiting.append(made)
            elif step and waiting:
                first = in_turn(waiting)[0]
                waiting.remove(first)
                for one, other in ahead:
                    if first.tenant_id in {one, other}:
                        ahead[one, other] += 1 if first.tenant_id == one else -1
            still = {each.tenant_id for each in waiting}
            for pair in ahead:
                if not set(pair) <= still:
                    ahead[pair] = 0
            assert all(lead <= 1 for lead in ahead.values()), ahead

    @given(st.lists(st.sampled_from(TENANTS), min_size=1, max_size=20))
    def test_keeps_one_tenants_entries_in_their_order(self, arrivals: list[str]) -> None:
        waiting: list[WaitEntry] = []
        for number, tenant in enumerate(arrivals):
            own = [each for each in waiting if each.tenant_id == tenant]
            waiting.append(entry(number, tenant, turn=next_turn(waiting, own)))

        for tenant in TENANTS:
            own_ids = [each.id for each in in_turn(waiting) if each.tenant_id == tenant]
            assert own_ids == sorted(own_ids)


class TestTakeTurns:
    def test_serves_in_turn_as_far_as_there_is_room(self) -> None:
        found = turns_of(entry(1, gpus=2), entry(2, gpus=2), entry(3, gpus=2), free=0b1111)

        assert isinstance(found["wtl_0001"], Serve)
        assert isinstance(found["wtl_0002"], Serve)
        assert isinstance(found["wtl_0003"], PassOver)

    def test_lets_smaller_ones_use_what_is_too_little_for_the_first(self) -> None:
        found = turns_of(entry(1, gpus=8), entry(2, gpus=1), free=0b1)

        assert isinstance(found["wtl_0001"], PassOver)
        assert "1 GPU" in found["wtl_0001"].reason
        assert isinstance(found["wtl_0002"], Serve)

    def test_keeps_the_room_of_what_is_offered_from_those_behind(self) -> None:
        offered = entry(
            1, state=WaitState.OFFERED, kind=WaitKind.NOTIFY, due_at=NOW + timedelta(minutes=5)
        )

        found = turns_of(offered, entry(2), free=0b1)

        assert isinstance(found["wtl_0002"], PassOver)
        assert "wtl_0001" not in found

    def test_ends_an_offer_that_nobody_came_for_and_serves_the_next(self) -> None:
        offered = entry(1, state=WaitState.OFFERED, kind=WaitKind.NOTIFY, due_at=NOW)

        found = turns_of(offered, entry(2), free=0b1)

        assert found["wtl_0001"] == End(offered, WaitEvent.LAPSE)
        assert isinstance(found["wtl_0002"], Serve)

    def test_passes_over_what_became_too_dear(self) -> None:
        found = turns_of(entry(1, price_max_micros=PRICE - 1), entry(2), free=0b1)

        assert found["wtl_0001"].reason == "Its price is above your limit."  # type: ignore[attr-defined]  # a PassOver
        assert isinstance(found["wtl_0002"], Serve)

    def test_ends_what_waited_long_enough(self) -> None:
        old = entry(1, expires_at=NOW)

        assert turns_of(old, free=0b1)["wtl_0001"] == End(old, WaitEvent.EXPIRE)

    def test_lets_what_was_refused_a_moment_ago_wait(self) -> None:
        refused = entry(1, due_at=NOW + timedelta(seconds=30), reason="Add funds first.")

        assert turns_of(refused, free=0b1)["wtl_0001"] == PassOver(refused, "Add funds first.")

    def test_leaves_the_image_as_it_was(self) -> None:
        image = an_image(0b1111)
        before = image.row(NodeId("nod_0"))

        take_turns([entry(1)], image, {"wtl_0001": asks(1)}, {"h200": PRICE}, NOW)

        assert image.row(NodeId("nod_0")) == before


ends = st.one_of(st.none(), st.integers(1, 90).map(lambda n: NOW + timedelta(minutes=n)))


class TestForecast:
    @given(st.lists(ends, min_size=8, max_size=8), st.sampled_from([1, 2, 4, 8]))
    def test_is_never_earlier_than_room_can_be(
        self, timers: list[datetime | None], gpus: int
    ) -> None:
        """Eight holders of one GPU each: so many timers must have run out as GPUs are asked for."""
        holders = [
            Holder(node_id=NodeId("nod_0"), mask=1 << n, vcpus=1, memory_mib=1, ends_at=at)
            for n, at in enumerate(timers)
        ]

        found = forecast(asks(gpus), an_image(0), holders, NOW)

        known = sorted(at for at in timers if at is not None)
        assert (found.gpus_held, found.gpus_timed) == (8, len(known))
        if len(known) < gpus:
            assert found.not_before is None
        elif found.not_before is not None:
            assert found.not_before >= known[gpus - 1]

    def test_says_that_it_fits_now(self) -> None:
        found = forecast(asks(2), an_image(0b11), [], NOW)

        assert found.fits_now
        assert found.not_before == NOW
