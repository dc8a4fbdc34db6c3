"""What every payment processor promises. A subclass says how to act as the customer."""

from abc import ABC, abstractmethod
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from gpucloud_core.billing.ports import (
    CheckoutRequest,
    PaymentProcessor,
    ProcessorRefused,
    SignatureInvalid,
)
from gpucloud_core.kernel.ids import TenantId

COMPLETED = "checkout.session.completed"
EXPIRED = "checkout.session.expired"
OLD = timedelta(minutes=10)
"""Older than any tolerance."""

REQUEST = CheckoutRequest(
    key="pay_00000000000000000000000001",
    tenant_id=TenantId("ten_00000000000000000000000001"),
    amount_micros=25_000_000,
    currency="USD",
    success_url="https://cloud.example/billing/return",
    cancel_url="https://cloud.example/billing",
)


class PaymentProcessorContract(ABC):
    """Subclassed for each adapter; the hooks act behind the port's back."""

    @pytest.fixture
    @abstractmethod
    def processor(self) -> PaymentProcessor: ...

    @abstractmethod
    async def pages(self) -> int:
        """Return how many pay pages the provider has made."""

    @abstractmethod
    async def pay(self, provider_id: str) -> None:
        """Pay the page as a customer does."""

    @abstractmethod
    async def close(self, provider_id: str) -> None:
        """Let the page expire without a payment."""

    @abstractmethod
    async def signed_event(
        self, kind: str, provider_id: str, *, age: timedelta = timedelta(0)
    ) -> tuple[bytes, str]:
        """Return an event about the page as it is now, as sent: body and signature header."""

    async def test_opens_one_page_per_key(self, processor: PaymentProcessor) -> None:
        before = await self.pages()

        first = await processor.open_checkout(REQUEST)
        again = await processor.open_checkout(REQUEST)

        assert again == first
        assert await self.pages() == before + 1

    async def test_opens_a_page_that_can_be_visited_and_owes_nothing_yet(
        self, processor: PaymentProcessor
    ) -> None:
        checkout = await processor.open_checkout(REQUEST)

        assert checkout.url is not None
        assert urlsplit(checkout.url).scheme in {"http", "https"}
        assert checkout.reference == REQUEST.key
        assert (checkout.amount_micros, checkout.currency) == (25_000_000, "USD")
        assert (checkout.status, checkout.paid) == ("open", False)

    async def test_keeps_keys_apart(self, processor: PaymentProcessor) -> None:
        first = await processor.open_checkout(REQUEST)
        other = await processor.open_checkout(
            replace(REQUEST, key="pay_00000000000000000000000002")
        )

        assert other.provider_id != first.provider_id
        assert other.reference != first.reference

    async def test_refuses_a_key_that_was_used_for_another_request(
        self, processor: PaymentProcessor
    ) -> None:
        await processor.open_checkout(REQUEST)

        with pytest.raises(ProcessorRefused):
            await processor.open_checkout(replace(REQUEST, amount_micros=50_000_000))

    async def test_reads_what_was_paid_from_the_providers_own_object(
        self, processor: PaymentProcessor
    ) -> None:
        opened = await processor.open_checkout(REQUEST)
        await self.pay(opened.provider_id)

        paid = await processor.read_checkout(opened.provider_id)

        assert (paid.status, paid.paid) == ("complete", True)
        assert (paid.amount_micros, paid.tax_micros, paid.currency) == (25_000_000, 0, "USD")
        assert paid.reference == REQUEST.key
        assert paid.payment_id

    async def test_reads_that_a_page_closed_unpaid(self, processor: PaymentProcessor) -> None:
        opened = await processor.open_checkout(REQUEST)
        await self.close(opened.provider_id)

        closed = await processor.read_checkout(opened.provider_id)

        assert (closed.status, closed.paid) == ("expired", False)

    async def test_refuses_to_read_a_page_that_never_was(self, processor: PaymentProcessor) -> None:
        with pytest.raises(ProcessorRefused):
            await processor.read_checkout("cs_test_never")

    async def test_believes_an_event_that_the_provider_signed(
        self, processor: PaymentProcessor
    ) -> None:
        opened = await processor.open_checkout(REQUEST)
        await self.pay(opened.provider_id)
        body, signature = await self.signed_event(COMPLETED, opened.provider_id)

        event = processor.verify_event(body, signature)

        assert event.id
        assert (event.kind, event.object_id) == (COMPLETED, opened.provider_id)
        assert event.checkout == await processor.read_checkout(opened.provider_id)

    async def test_reads_a_stored_event_as_it_was_verified(
        self, processor: PaymentProcessor
    ) -> None:
        opened = await processor.open_checkout(REQUEST)
        await self.close(opened.provider_id)
        body, signature = await self.signed_event(EXPIRED, opened.provider_id)

        assert processor.parse_event(body.decode()) == processor.verify_event(body, signature)

    async def test_refuses_a_body_that_was_altered(self, processor: PaymentProcessor) -> None:
        opened = await processor.open_checkout(REQUEST)
        body, signature = await self.signed_event(COMPLETED, opened.provider_id)

        for forged in (body.replace(b"25", b"99"), body + b" ", b"", b"{}", b"\xff"):
            with pytest.raises(SignatureInvalid):
                processor.verify_event(forged, signature)

    async def test_refuses_a_signature_that_is_none(self, processor: PaymentProcessor) -> None:
        opened = await processor.open_checkout(REQUEST)
        body, signature = await self.signed_event(COMPLETED, opened.provider_id)
        time, _, digest = signature.partition(",")

        for forged in ("", "x", time, digest, f"{time},v1={'0' * 64}", f"t=0,{digest}", "t=é,v1=é"):
            with pytest.raises(SignatureInvalid):
                processor.verify_event(body, forged)

    async def test_refuses_an_event_that_is_too_old(self, processor: PaymentProcessor) -> None:
        opened = await processor.open_checkout(REQUEST)
        body, signature = await self.signed_event(COMPLETED, opened.provider_id, age=OLD)

        with pytest.raises(SignatureInvalid):
            processor.verify_event(body, signature)

    async def test_has_a_page_for_cards_and_receipts(self, processor: PaymentProcessor) -> None:
        url = await processor.open_portal(
            key="vis_1", tenant_id=REQUEST.tenant_id, return_url="https://cloud.example/billing"
        )

        assert urlsplit(url).scheme in {"http", "https"}
