from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_builders import DOLLAR, ORIGIN, TENANT, BillingWorld
from gpucloud_adapters.memory.payments import MemoryPayments
from gpucloud_core.access.authorize import Forbidden
from gpucloud_core.access.model import Role
from gpucloud_core.billing.amounts import in_words
from gpucloud_core.billing.model import PaymentSession, PaymentState
from gpucloud_core.billing.payment_sessions import PAYMENT_SESSION, Facts, PaymentEvent
from gpucloud_core.billing.payments import (
    CheckoutAsked,
    OpenPortal,
    PaymentView,
    ReadPayment,
    field_errors,
    is_same_origin,
)
from gpucloud_core.billing.ports import Checkout, CheckoutRequest, ProcessorUnavailable
from gpucloud_core.kernel.errors import NotFound, ValidationFailed
from gpucloud_core.kernel.idempotency import IdempotencyKeyReused
from gpucloud_core.kernel.ids import PaymentId, TenantId
from gpucloud_core.kernel.machine import Decision


class Flaky(MemoryPayments):
    """Does the work and drops the answer, once."""

    drops = 1

    async def open_checkout(self, request: CheckoutRequest) -> Checkout:
        checkout = await super().open_checkout(request)
        if self.drops:
            self.drops -= 1
            raise ProcessorUnavailable
        return checkout


async def read(world: BillingWorld, session: PaymentSession) -> PaymentView:
    ask = ReadPayment(transactions=world.transactions, processor=world.processor)
    return await ask(actor=world.actor, payment_id=session.id)


class TestIsSameOrigin:
    @pytest.mark.parametrize(
        "url",
        [
            "https://cloud.example/billing",
            "https://cloud.example",
            "https://cloud.example:443/x?y=1#z",
            "https://CLOUD.example/x",
        ],
    )
    def test_lets_our_own_pages_pass(self, url: str) -> None:
        assert is_same_origin(url, ORIGIN)

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "/billing",
            "//cloud.example/x",
            "http://cloud.example/x",
            "https://cloud.example:444/x",
            "https://cloud.example.evil.example/x",
            "https://cloud.example@evil.example/x",
            "https://user:pw@cloud.example/x",
            "https://evil.example\\@cloud.example/x",
            "https://cloud.example\t.evil.example/",
            "https://cloud.example:x/",
            "https://[cloud.example/",
            "https://clöud.example/",
            "javascript:alert(1)",
            "https://cloud.example/" + "x" * 3000,
        ],
    )
    def test_refuses_everything_else(self, url: str) -> None:
        assert not is_same_origin(url, ORIGIN)

    @given(st.text())
    def test_never_fails(self, url: str) -> None:
        assert not is_same_origin(url, ORIGIN) or url.lower().startswith("https://cloud.example")


class TestFieldErrors:
    @pytest.mark.parametrize("micros", [5 * DOLLAR, 10_000 * DOLLAR, 12_340_000])
    def test_finds_nothing_in_a_good_amount(self, micros: int) -> None:
        asked = CheckoutAsked(amount_micros=micros, currency="USD")

        assert field_errors(asked, currency="USD", origin=ORIGIN) == []

    @pytest.mark.parametrize(
        "micros", [0, -1, 5 * DOLLAR - 1, 10_000 * DOLLAR + 1, 5 * DOLLAR + 1, 5_005_000]
    )
    def test_names_the_amount(self, micros: int) -> None:
        asked = CheckoutAsked(amount_micros=micros, currency="USD")

        (error,) = field_errors(asked, currency="USD", origin=ORIGIN)

        assert (error.field, error.code) == ("/amount_micros", "invalid_amount")

    def test_names_everything_at_once(self) -> None:
        asked = CheckoutAsked(
            amount_micros=10 * DOLLAR,
            currency="EUR",
            success_url="https://evil.example",
            cancel_url="https://evil.example",
        )

        found = field_errors(asked, currency="USD", origin=ORIGIN)

        assert [(error.field, error.code) for error in found] == [
            ("/success_url", "not_same_origin"),
            ("/cancel_url", "not_same_origin"),
            ("/currency", "currency_mismatch"),
        ]


class TestStartCheckout:
    async def test_gives_a_page_and_remembers_it(self) -> None:
        world = await BillingWorld().opened()

        session = await world.start_checkout(25 * DOLLAR)

        assert session.state is PaymentState.OPEN
        assert session.url is not None
        assert session.success_url == f"{ORIGIN}/billing/return?payment={session.id}"
        assert (await read(world, session)).session == session
        assert (await world.balance()).posted_micros == 0

    async def test_refuses_bad_input_before_anyone_is_asked(self) -> None:
        world = await BillingWorld().opened()

        with pytest.raises(ValidationFailed) as refused:
            await world.start_checkout(1)

        assert refused.value.fields[0].code == "invalid_amount"
        assert world.processor.checkouts == ()

    async def test_gives_one_page_per_key(self) -> None:
        world = await BillingWorld().opened()

        first = await world.start_checkout(key="k1")
        again = await world.start_checkout(key="k1")

        assert again == first
        assert len(world.processor.checkouts) == 1
        with pytest.raises(IdempotencyKeyReused):
            await world.start_checkout(30 * DOLLAR, key="k1")

    async def test_finds_its_page_again_when_the_answer_was_lost(self) -> None:
        world = await BillingWorld().opened()
        world.processor = Flaky(world.clock, secret="whsec_test")
        with pytest.raises(ProcessorUnavailable):
            await world.start_checkout(key="k1")

        session = await world.start_checkout(key="k1")

        assert session.state is PaymentState.OPEN
        assert len(world.processor.checkouts) == 1
        async with world.unit() as unit:
            assert await unit.payments.find() == (session,)

    async def test_is_for_those_who_may_pay(self) -> None:
        world = await BillingWorld().opened()
        world.actor = replace(world.actor, tenant_role=Role.MEMBER)

        with pytest.raises(Forbidden):
            await world.start_checkout()

    async def test_leaves_its_audit_row(self) -> None:
        world = await BillingWorld().opened()

        session = await world.start_checkout()

        rows = world.transactions.database.audit_rows
        assert [(row.action, row.target) for row in rows] == [("payment.start", session.id)]


class TestReadPayment:
    async def test_says_confirming_but_never_credits(self) -> None:
        world = await BillingWorld().opened()
        session = await world.start_checkout()
        assert (await read(world, session)).status == "open"
        world.processor.pay(session.provider_id or "")

        seen = [await read(world, session) for _ in range(3)]

        assert [view.status for view in seen] == ["confirming"] * 3
        assert world.transactions.database.transfers == ()

    async def test_says_completed_once_the_event_has_credited(self) -> None:
        world = await BillingWorld().opened()
        await world.top_up()
        async with world.unit() as unit:
            (session,) = await unit.payments.find()

        assert (await read(world, session)).status == "completed"

    async def test_shows_what_it_knows_when_the_provider_is_silent(self) -> None:
        world = await BillingWorld().opened()
        session = await world.start_checkout()
        world.processor = MemoryPayments(world.clock, secret="another")  # knows no such page

        assert (await read(world, session)).status == "open"

    async def test_knows_nothing_of_another_tenants(self) -> None:
        world = await BillingWorld().opened()
        session = await world.start_checkout()
        world.actor = replace(world.actor, tenant_id=TenantId("ten_2"))

        with pytest.raises(NotFound):
            await read(world, session)
        with pytest.raises(NotFound):
            await read(world, replace(session, id=PaymentId("no-id")))


class TestOpenPortal:
    async def test_leads_to_the_provider_and_back_to_us_only(self) -> None:
        world = await BillingWorld().opened()
        portal = OpenPortal(
            transactions=world.transactions,
            processor=world.processor,
            ids=world.ids,
            public_origin=ORIGIN,
        )

        assert TENANT in await portal(actor=world.actor)
        with pytest.raises(ValidationFailed):
            await portal(actor=world.actor, return_url="https://evil.example")


class TestTable:
    @pytest.mark.parametrize("state", sorted(set(PaymentState) - {PaymentState.COMPLETED}))
    def test_can_still_be_paid_from_everywhere(self, state: PaymentState) -> None:
        decision = PAYMENT_SESSION.decide(state, PaymentEvent.PAY, Facts())

        assert isinstance(decision, Decision)
        assert decision.state is PaymentState.COMPLETED

    def test_never_leaves_completed(self) -> None:
        assert PAYMENT_SESSION.is_final(PaymentState.COMPLETED)


class TestInWords:
    @pytest.mark.parametrize(
        ("micros", "up", "words"),
        [
            (0, False, "$0.00"),
            (1, False, "$0.00"),
            (1, True, "$0.01"),
            (1_234_567_890_000, False, "$1,234,567.89"),
            (-10_000, False, "-$0.01"),
        ],
    )
    def test_rounds_to_cents_as_told(self, micros: int, up: bool, words: str) -> None:
        assert in_words(micros, "USD", round_up=up) == words
