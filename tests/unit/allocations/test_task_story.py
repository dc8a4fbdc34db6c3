"""A task's story, told to readers who come back."""

import asyncio
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from customer import Customer
from gpucloud_core.allocations.queries import ListTaskEvents
from gpucloud_core.allocations.task_story import TaskStory
from gpucloud_core.kernel.ids import TaskId, entity_id
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.work.model import TaskEvent


class Teller(Customer):
    """A task whose story is written by hand."""

    task: TaskId

    async def begin(self) -> "Teller":
        self.task = (await self.cloud.launch(self.actor, self.request(1))).task_id
        return self

    async def write(self, numbers: Sequence[int]) -> None:
        async with self.cloud.transactions.begin(Scope.tenant(self.actor.tenant_id)) as unit:
            for number in numbers:
                event = TaskEvent(
                    id=entity_id("evt", number),
                    tenant_id=self.actor.tenant_id,
                    task_id=self.task,
                    at=self.cloud.clock.now(),
                    kind="step.active",
                )
                await unit.task_events.add(event)

    def story(self, after: str = "") -> TaskStory:
        return TaskStory(
            list_events=ListTaskEvents(transactions=self.cloud.transactions),
            actor=self.actor,
            task_id=self.task,
            after=after,
        )


class TestTaskStory:
    async def test_loses_nothing_however_much_came_between(self) -> None:
        ada = await (await Teller.arrive()).begin()
        await ada.write(range(1, 251))
        story = ada.story(after=entity_id("evt", 20))

        first = await story.fresh()
        await ada.write(range(251, 600))
        then = await story.fresh()

        assert [event.id for event in (*first, *then)] == [
            entity_id("evt", number) for number in range(21, 600)
        ]
        assert await story.fresh() == []

    @settings(max_examples=10)  # each has a cloud of its own
    @given(batches=st.lists(st.sets(st.integers(1, 40), max_size=8), max_size=5))
    def test_tells_each_once_in_whatever_order_they_appear(self, batches: list[set[int]]) -> None:
        written: set[int] = set()

        async def read() -> list[str]:
            ada = await (await Teller.arrive()).begin()
            story, told = ada.story(), []
            for batch in batches:
                await ada.write(sorted(batch - written))
                written.update(batch)
                told += [event.id for event in await story.fresh()]
            return told

        told = asyncio.run(read())

        assert len(told) == len(set(told))
        assert set(told) == {entity_id("evt", number) for number in written}
