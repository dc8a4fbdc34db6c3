"""The Stripe adapter: Stripe's own library against the simulated Stripe."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from contracts.payment_processor import REQUEST, PaymentProcessorContract
from gpucloud_adapters.simulated.stripe.faults import Faults
from gpucloud_adapters.stripe.processor import StripeProcessor
from gpucloud_core.billing.ports import PaymentProcessor, ProcessorRefused, ProcessorUnavailable
from simulated_stripe import KEY, SimulatedStripe, simulated_stripe

OTHER = replace(REQUEST, key="pay_00000000000000000000000002")


@pytest.fixture
async def stripe_server(tmp_path: Path) -> AsyncIterator[SimulatedStripe]:
    async with simulated_stripe(tmp_path) as server:
        yield server


class TestStripeProcessorKeepsTheContract(PaymentProcessorContract):
    server: SimulatedStripe

    @pytest.fixture
    def processor(self, stripe_server: SimulatedStripe) -> PaymentProcessor:
        self.server = stripe_server
        return stripe_server.processor()

    async def pages(self) -> int:
        return len((await self.server.ask("checkout/sessions", limit="100"))["data"])

    async def pay(self, provider_id: str) -> None:
        assert (await self.server.pay(provider_id)).status_code == 303

    async def close(self, provider_id: str) -> None:
        await self.server.close(provider_id)

    async def signed_event(
        self, kind: str, provider_id: str, *, age: timedelta = timedelta(0)
    ) -> tuple[bytes, str]:
        return await self.server.signed_event(kind, provider_id, age=age)


class TestStripeProcessor:
    @pytest.fixture
    def processor(self, stripe_server: SimulatedStripe) -> StripeProcessor:
        return stripe_server.processor()

    async def test_marks_session_and_payment_with_our_ids(
        self, processor: StripeProcessor, stripe_server: SimulatedStripe
    ) -> None:
        opened = await processor.open_checkout(replace(REQUEST, customer_email="ada@example.com"))
        await stripe_server.pay(opened.provider_id)

        session = await stripe_server.ask(f"checkout/sessions/{opened.provider_id}")
        intent = await stripe_server.ask(f"payment_intents/{session['payment_intent']}")
        ours = {"payment_id": REQUEST.key, "tenant_id": REQUEST.tenant_id}
        assert session["metadata"] == intent["metadata"] == ours
        assert intent["receipt_email"] == "ada@example.com"

    async def test_keeps_one_customer_per_tenant(
        self, processor: StripeProcessor, stripe_server: SimulatedStripe
    ) -> None:
        for request in (REQUEST, OTHER):
            await processor.open_checkout(request)
        await processor.open_portal(
            key="vis_1", tenant_id=REQUEST.tenant_id, return_url="https://a.example/"
        )

        customers = await stripe_server.ask("customers")
        assert [one["metadata"] for one in customers["data"]] == [{"tenant_id": REQUEST.tenant_id}]

    async def test_keeps_one_customer_while_the_search_lags_behind(self, tmp_path: Path) -> None:
        async with simulated_stripe(
            tmp_path / "lagging", faults=Faults(search_lag_seconds=60)
        ) as server:
            processor = server.processor()
            for request in (REQUEST, OTHER):
                await processor.open_checkout(request)

            assert len((await server.ask("customers"))["data"]) == 1

    async def test_shows_payments_and_receipts_in_the_portal(
        self, processor: StripeProcessor, stripe_server: SimulatedStripe
    ) -> None:
        opened = await processor.open_checkout(REQUEST)
        await stripe_server.pay(opened.provider_id)

        url = await processor.open_portal(
            key="vis_1", tenant_id=REQUEST.tenant_id, return_url="https://a.example/billing"
        )

        page = (await stripe_server.http.get(url)).text
        assert "$25.00" in page
        assert "Visa •••• 4242" in page
        assert 'href="https://a.example/billing"' in page

    async def test_refuses_an_amount_finer_than_a_cent(self, processor: StripeProcessor) -> None:
        with pytest.raises(ProcessorRefused):
            await processor.open_checkout(replace(REQUEST, amount_micros=25_000_001))

    async def test_hands_on_why_stripe_refuses(self, processor: StripeProcessor) -> None:
        with pytest.raises(ProcessorRefused, match="at least 50 cents"):
            await processor.open_checkout(replace(REQUEST, amount_micros=10_000))

    async def test_says_that_nobody_knows_when_stripe_does_not_answer(self) -> None:
        processor = StripeProcessor(
            secret_key=KEY, webhook_secret="whsec_x", api_base="http://127.0.0.1:1"
        )

        with pytest.raises(ProcessorUnavailable):
            await processor.open_checkout(REQUEST)

        await processor.close()

    async def test_is_unavailable_rather_than_refused_with_a_wrong_key(
        self, stripe_server: SimulatedStripe
    ) -> None:
        processor = stripe_server.processor(key="sk_test_wrong")

        with pytest.raises(ProcessorUnavailable, match="not set up correctly"):
            await processor.open_checkout(REQUEST)

    async def test_finds_the_first_page_again_after_its_answer_was_lost(
        self, tmp_path: Path
    ) -> None:
        home = tmp_path / "losing"
        async with simulated_stripe(home, faults=Faults(lose_answer=1)) as losing:
            processor = losing.processor()
            for _ in range(2):  # the first makes the customer and loses it, the second the page
                with pytest.raises(ProcessorUnavailable):
                    await processor.open_checkout(REQUEST)
        async with simulated_stripe(home) as server:
            processor = server.processor()
            await processor.open_checkout(REQUEST)
            await processor.open_checkout(REQUEST)

            assert len((await server.ask("checkout/sessions"))["data"]) == 1
            assert len((await server.ask("customers"))["data"]) == 1

    async def test_counts_a_debit_as_paid_only_once_it_settled(
        self, processor: StripeProcessor, stripe_server: SimulatedStripe
    ) -> None:
        opened = await processor.open_checkout(REQUEST)

        await stripe_server.submit(opened.provider_id, method="bank", account="000111111113")

        read = await processor.read_checkout(opened.provider_id)
        assert (read.status, read.paid) == ("complete", False)
