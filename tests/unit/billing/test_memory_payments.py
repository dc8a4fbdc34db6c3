from datetime import timedelta

import pytest

from access_builders import StandingClock
from contracts.payment_processor import PaymentProcessorContract
from gpucloud_adapters.memory.payments import MemoryPayments


class TestMemoryPayments(PaymentProcessorContract):
    @pytest.fixture(autouse=True)
    def _payments(self) -> None:
        self.clock = StandingClock()
        self.payments = MemoryPayments(self.clock, secret="whsec_test")

    @pytest.fixture
    def processor(self) -> MemoryPayments:
        return self.payments

    async def pages(self) -> int:
        return len(self.payments.checkouts)

    async def pay(self, provider_id: str) -> None:
        self.payments.pay(provider_id)

    async def close(self, provider_id: str) -> None:
        self.payments.close(provider_id)

    async def signed_event(
        self, kind: str, provider_id: str, *, age: timedelta = timedelta(0)
    ) -> tuple[bytes, str]:
        sent = self.payments.event(kind, provider_id, signed_at=self.clock.now() - age)
        return sent.body, sent.signature
