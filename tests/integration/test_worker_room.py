"""Nodes that hang keep their own tasks waiting, and nobody else's.

Seen to fail when a thread of the consumer stayed with its task: sixteen tasks at nodes that did not
answer were all that a worker could do, for as long as their steps' timeouts lasted.
"""

import asyncio
import threading
from collections.abc import Iterator

import dramatiq
import pytest
from dramatiq.brokers.redis import RedisBroker

from gpucloud_adapters.settings import Secret
from gpucloud_core.kernel.ids import TaskId, entity_id
from gpucloud_workers.app import LOOK_MS, THREADS
from gpucloud_workers.queue import TaskQueue, make_broker

HANGING = 100
PATIENCE = 20.0


class Nodes:
    """Some hang until they are let go; the others answer at once."""

    def __init__(self) -> None:
        self.hanging = {TaskId(entity_id("tsk", number)) for number in range(HANGING)}
        self.begun, self.ended = threading.Semaphore(0), threading.Semaphore(0)
        self.let_go = threading.Event()

    async def run(self, task_id: TaskId) -> None:
        self.begun.release()
        if task_id in self.hanging:
            while not self.let_go.is_set():  # noqa: ASYNC110  set by another thread
                await asyncio.sleep(0.01)
        self.ended.release()


@pytest.fixture
def broker(redis_url: str) -> Iterator[RedisBroker]:
    broker = make_broker(Secret(redis_url))
    yield broker
    broker.close()
    broker.client.connection_pool.disconnect()


class TestAWorker:
    def test_goes_on_however_many_tasks_wait_for_nodes_that_hang(self, broker: RedisBroker) -> None:
        nodes = Nodes()
        queue = TaskQueue.over(broker, nodes.run)
        consumer = dramatiq.Worker(broker, worker_threads=THREADS, worker_timeout=LOOK_MS)
        consumer.start()
        try:
            for task_id in nodes.hanging:
                queue.send(task_id)
            for _ in range(HANGING):
                assert nodes.begun.acquire(timeout=PATIENCE)

            queue.send(TaskId(entity_id("tsk", HANGING)))

            assert nodes.ended.acquire(timeout=PATIENCE)
            nodes.let_go.set()
            queue.drain(PATIENCE)
            assert all(nodes.ended.acquire(timeout=0) for _ in range(HANGING))
        finally:
            nodes.let_go.set()
            consumer.stop()

    def test_takes_no_more_than_it_has_room_for_and_leaves_the_rest_to_others(
        self, broker: RedisBroker
    ) -> None:
        nodes = Nodes()
        queue = TaskQueue.over(broker, nodes.run, room=2)
        consumer = dramatiq.Worker(broker, worker_threads=THREADS, worker_timeout=LOOK_MS)
        consumer.start()
        try:
            for task_id in sorted(nodes.hanging)[:3]:
                queue.send(task_id)
            for _ in range(2):
                assert nodes.begun.acquire(timeout=PATIENCE)
            assert not nodes.begun.acquire(timeout=0.2)

            queue.drain(0.01)

            assert not nodes.begun.acquire(timeout=0.2), "it is closing"
            assert not nodes.ended.acquire(timeout=0)
        finally:
            nodes.let_go.set()
            queue.drain(PATIENCE)
            consumer.stop()
