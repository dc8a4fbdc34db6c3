"""The relay loses no event that a keeper must take, and lets none hold up another subject."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from gpucloud_adapters.memory.unit import MemoryTransactions
from gpucloud_core.kernel.outbox import StoredEvent
from gpucloud_core.kernel.unit import Event, Scope
from gpucloud_workers.relay import GIVE_UP, Relay
from row_builders import FixedClock


@dataclass
class Listener:
    """Takes events, and fails for some subjects while told to."""

    failing: set[str] = field(default_factory=set)
    taken: list[str] = field(default_factory=list)

    async def keep(self, stored: StoredEvent) -> None:
        await self.consume(stored.event)

    async def consume(self, event: Event) -> None:
        if event.subject in self.failing:
            raise ConnectionError(event.subject)
        self.taken.append(f"{event.subject}{event.payload['n']}")


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def transactions(clock: FixedClock) -> MemoryTransactions:
    return MemoryTransactions(clock)


async def emit(transactions: MemoryTransactions, *subjects: str) -> None:
    async with transactions.begin(Scope.platform()) as unit:
        for number, subject in enumerate(subjects):
            await unit.emit(Event(kind="x", subject=subject, payload={"n": number}))


def relay_to(
    transactions: MemoryTransactions, keeper: Listener, consumer: Listener | None = None
) -> Callable[[], Awaitable[int]]:
    consumers = {"x": consumer.consume} if consumer else {}
    return Relay(transactions=transactions, consumers=consumers, keepers=(keeper.keep,))


class TestKeepers:
    async def test_are_asked_until_they_have_taken_it(
        self, transactions: MemoryTransactions
    ) -> None:
        keeper = Listener(failing={"a"})
        relay = relay_to(transactions, keeper)
        await emit(transactions, "a", "b", "a", "b")

        assert await relay() == 2
        assert keeper.taken == ["b1", "b3"]
        keeper.failing.clear()
        assert await relay() == 2
        assert keeper.taken == ["b1", "b3", "a0", "a2"]
        assert await relay() == 0

    async def test_are_given_up_on_after_an_hour(
        self, transactions: MemoryTransactions, clock: FixedClock
    ) -> None:
        keeper = Listener(failing={"a"})
        relay = relay_to(transactions, keeper)
        await emit(transactions, "a")

        assert await relay() == 0
        clock.at += GIVE_UP + timedelta(seconds=1)
        assert await relay() == 1
        assert await relay() == 0


class TestConsumers:
    async def test_hold_up_nothing_when_they_fail(self, transactions: MemoryTransactions) -> None:
        keeper, consumer = Listener(), Listener(failing={"a"})
        relay = relay_to(transactions, keeper, consumer)
        await emit(transactions, "a", "b")

        assert await relay() == 2
        assert (keeper.taken, consumer.taken) == (["a0", "b1"], ["b1"])
