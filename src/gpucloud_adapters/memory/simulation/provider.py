"""A payment provider at its worst: events doubled, swapped, late, forged and stale.

Only what a real one does as well: an event that was not heard is sent again for three days, each
time signed anew; the same news may come as several events, in any order.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, TypeAlias

from gpucloud_adapters.memory.payments import TOLERANCE, MemoryPayments, SignedEvent
from gpucloud_adapters.memory.simulation.dice import Dice
from gpucloud_adapters.memory.simulation.trouble import exposed
from gpucloud_adapters.memory.simulation.virtual import WorldClock
from gpucloud_core.billing.ports import (
    Checkout,
    CheckoutRequest,
    ProcessorUnavailable,
    SignatureInvalid,
)
from gpucloud_core.kernel.errors import Conflict, Unavailable

COMPLETED: Final = "checkout.session.completed"
SUCCEEDED: Final = "checkout.session.async_payment_succeeded"
FAILED: Final = "checkout.session.async_payment_failed"
EXPIRED: Final = "checkout.session.expired"

_SECRET: Final = "whsec_world"  # noqa: S105  of a provider that does not exist
_HOUR: Final = 3600.0
_LATEST: Final = 72 * _HOUR

Receive: TypeAlias = Callable[..., Awaitable[str]]


async def _nobody(**_: object) -> str:
    raise SignatureInvalid("nobody listens yet")


class RestlessPayments(MemoryPayments):
    """A ``PaymentProcessor`` that sometimes does not answer, and tells of payments as it likes."""

    def __init__(self, clock: WorldClock, dice: Dice, *, log: Callable[[str], None]) -> None:
        super().__init__(clock, secret=_SECRET)
        self._calmed = asyncio.Event()
        self.met: Final[Counter[str]] = Counter()
        self.told: Final[set[str]] = set()  # pages of whose payment our side was told
        self.receive: Receive = _nobody
        self._dice = dice
        self._log = log
        self._now = clock.now
        self._numbers = 0
        self._on_the_way: set[asyncio.Task[None]] = set()

    def calm(self) -> None:
        """Deliver everything at once from now on, and nothing twice or wrong."""
        self._calmed.set()

    @property
    def is_calm(self) -> bool:
        return self._calmed.is_set()

    def page(self, provider_id: str) -> Checkout:
        """Return a pay page as it is at this instant."""
        return self._found(provider_id)

    @property
    def has_news(self) -> bool:
        """Tell whether anything is still on its way to us."""
        return bool(self._on_the_way)

    async def open_checkout(self, request: CheckoutRequest) -> Checkout:
        await asyncio.sleep(self._dice.between(0.05, 1))
        if not self.is_calm and self._dice.chance(0.05):
            self.met["no_answer_before"] += 1
            raise ProcessorUnavailable
        checkout = await super().open_checkout(request)
        if not self.is_calm and self._dice.chance(0.05):
            self.met["no_answer_after"] += 1
            raise ProcessorUnavailable
        return checkout

    def settle(self, provider_id: str) -> None:
        """Let a customer pay a page, and send the news of it: at times with tax, or foreign."""
        if self._dice.chance(0.04):
            self._start(self._pay_foreign(provider_id))
            return
        self.pay(provider_id, tax_micros=1_900_000 if self._dice.chance(0.1) else 0)
        self._send(COMPLETED, provider_id)
        if self._dice.chance(0.05):
            self._send(SUCCEEDED, provider_id)  # the same money, in the words of another event

    def begin_transfer(self, provider_id: str) -> None:
        """Let a customer pay in a way that takes days, and may fail."""
        self.complete_unpaid(provider_id)
        self._send(COMPLETED, provider_id)
        self._start(self._finish_transfer(provider_id))

    def give_up(self, provider_id: str) -> None:
        """Let a page expire, and perhaps be paid nevertheless."""
        self.close(provider_id)
        self._send(EXPIRED, provider_id)
        if self._dice.chance(0.3):
            self._start(self._pay_late(provider_id))

    async def _pay_late(self, provider_id: str) -> None:
        await self._pause(self._dice.between(1, 6 * _HOUR))
        self.settle(provider_id)

    async def _pay_foreign(self, provider_id: str) -> None:
        """Pay in a currency that the account is not kept in, and have that put right."""
        right = self._found(provider_id)
        if right.paid:
            return
        self._changed(provider_id, currency="EUR")
        self.pay(provider_id)
        self._send(COMPLETED, provider_id)
        await self._pause(self._dice.between(1, 24 * _HOUR))
        paid = self._found(provider_id)
        self._checkouts[provider_id] = replace(paid, currency=right.currency)
        self._send(SUCCEEDED, provider_id)

    async def _finish_transfer(self, provider_id: str) -> None:
        await asyncio.sleep(1 if self.is_calm else self._dice.between(_HOUR, 24 * _HOUR))
        if self._dice.chance(0.7):
            self.pay(provider_id)
            self._send(SUCCEEDED, provider_id)
        else:
            self._send(FAILED, provider_id)

    def _send(self, kind: str, provider_id: str) -> None:
        """Send one event: once, or several times, now or days later."""
        self._numbers += 1
        body = self.event(kind, provider_id, event_id=f"evt_{self._numbers:06d}").body
        times = self._dice.weighed({1: 70, 2: 20, 3: 7, 5: 3})
        for _ in range(times):
            delay = self._dice.weighed({"soon": 80, "minutes": 14, "hours": 5, "days": 1})
            longest = {"soon": 3, "minutes": 900, "hours": 6 * _HOUR, "days": _LATEST}[delay]
            self._start(self._deliver(body, self._dice.between(0, longest)))

    async def _deliver(self, body: bytes, delay: float) -> None:
        """Bring one event, again and again until it is heard."""
        await self._pause(delay)
        event = self.parse_event(body.decode())
        while True:
            signed = self._signed(body)
            try:
                with exposed():
                    await self.receive(body=signed.body, signature=signed.signature)
            except (SignatureInvalid, Conflict, Unavailable) as error:
                self.met[error.code] += 1
                await self._pause(self._dice.between(10, 600))
                continue
            if event.checkout is not None and event.checkout.paid:
                self.told.add(event.object_id)
            self.met["delivered"] += 1
            self._log(f"provider: {event.id} {event.kind} of {event.object_id}")
            return

    def _signed(self, body: bytes) -> SignedEvent:
        """Return the event signed now, or something that must be refused in its place."""
        fate = "well" if self.is_calm else self._dice.weighed({"well": 97, "forged": 2, "stale": 1})
        if fate == "forged":
            return SignedEvent(body, self.sign(body)[:-8] + "deadbeef")
        if fate == "stale":
            return SignedEvent(body, self.sign(body, signed_at=self._now() - TOLERANCE * 2))
        return SignedEvent(body, self.sign(body))

    async def _pause(self, seconds: float) -> None:
        """Wait, but no longer than until everything is to be calm."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._calmed.wait()

    def _start(self, errand: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(errand)
        self._on_the_way.add(task)
        task.add_done_callback(self._on_the_way.discard)
