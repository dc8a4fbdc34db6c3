"""One worker process: the queue's consumer on one event loop, the due-row jobs on another.

The two share nothing but the database, so a job that is busy never delays a task.
"""

import asyncio
import signal
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import dramatiq
from dishka import AsyncContainer

from gpucloud_adapters.bootstrap import make_container
from gpucloud_adapters.settings import Settings
from gpucloud_core.allocations.endings import ReleaseExpired, ReleaseUnfunded
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.reconcile import ReconcileMoney, ReconcileNode
from gpucloud_core.allocations.terminal_record import CloseLostTerminals
from gpucloud_core.audit.seal import AnchorAudit, SealAudit
from gpucloud_core.billing.due import MeetDeadline, SettleDue
from gpucloud_core.billing.webhooks import DueWebhooks, HandleWebhook
from gpucloud_core.fleet.distrust import DistrustNode
from gpucloud_core.fleet.look_again import LookAgain
from gpucloud_core.kernel.ids import TaskId, TenantId
from gpucloud_core.kernel.outbox import Bell, RelayUnit
from gpucloud_core.kernel.unit import Event, Transactions
from gpucloud_core.notices.mail import SendMails
from gpucloud_core.notices.overdue import SweepAttention
from gpucloud_core.notices.tell import TellPeople
from gpucloud_core.waitlist.serve import ServeWaitlist
from gpucloud_core.work.run import RunTask
from gpucloud_workers.queue import TaskQueue, make_broker
from gpucloud_workers.reconcile import ReconcileFleet
from gpucloud_workers.relay import Relay
from gpucloud_workers.schedule import Job, keep_all
from gpucloud_workers.sweep import SweepTasks

THREADS: Final = 4  # they take messages; the tasks themselves are on the event loop
LOOK_MS: Final = 25  # how long an idle consumer may sleep before it looks at the queue again
STOP_MS: Final = 10_000


@dataclass(slots=True)
class TaskRunner:
    """Runs tasks with a container made on the loop that uses it."""

    settings: Settings
    container: AsyncContainer | None = field(default=None)

    async def __call__(self, task_id: TaskId) -> None:
        if self.container is None:
            self.container = make_container(self.settings)
        run_task = await self.container.get(RunTask[AllocationUnit])
        await run_task(task_id)


async def jobs_of(
    container: AsyncContainer, queue: TaskQueue, *, rung: asyncio.Event | None = None
) -> tuple[Job, ...]:
    """Return what this process does besides tasks; ``rung`` is set when there are new events."""
    release_unfunded = await container.get(ReleaseUnfunded)

    async def wake(event: Event) -> None:
        await asyncio.to_thread(queue.send, TaskId(event.subject))

    async def end_of_balance(event: Event) -> None:
        await release_unfunded(TenantId(event.subject))

    handle_webhook = await container.get(HandleWebhook)

    async def payment(event: Event) -> None:
        await handle_webhook(event.subject)

    relay = Relay(
        transactions=await container.get(Transactions[RelayUnit]),
        consumers={
            "task.queued": wake,
            "billing.depleted": end_of_balance,
            "payment.event_received": payment,
        },
        keepers=(await container.get(TellPeople),),
    )
    sweep = SweepTasks(
        transactions=await container.get(Transactions[AllocationUnit]), send=queue.send
    )
    due_webhooks = await container.get(DueWebhooks)

    async def webhooks() -> int:
        due = await due_webhooks()
        for event_id in due:
            await handle_webhook(event_id)
        return len(due)

    reconcile = ReconcileFleet(
        transactions=await container.get(Transactions[AllocationUnit]),
        reconcile_node=await container.get(ReconcileNode),
        reconcile_money=await container.get(ReconcileMoney),
        distrust=await container.get(DistrustNode),
    )
    settle = await container.get(SettleDue)
    deadlines = await container.get(MeetDeadline)
    expired = await container.get(ReleaseExpired)
    lost_terminals = await container.get(CloseLostTerminals)
    send_mails = await container.get(SendMails)
    seal_audit = await container.get(SealAudit)
    anchor_audit = await container.get(AnchorAudit)
    sweep_attention = await container.get(SweepAttention)

    look_again = await container.get(LookAgain)
    serve_waitlist = await container.get(ServeWaitlist)

    async def attention() -> int:
        await sweep_attention()
        return 0

    return (
        Job("relay", timedelta(milliseconds=200), relay, woken=rung),
        Job("sweep_tasks", timedelta(seconds=2), sweep),
        Job("webhooks", timedelta(seconds=1), webhooks),
        Job("deadlines", timedelta(seconds=1), deadlines),
        Job("expired", timedelta(seconds=5), expired),
        Job("waitlist", timedelta(seconds=2), serve_waitlist),
        Job("settle", timedelta(seconds=10), settle),
        Job("reconcile", timedelta(seconds=60), reconcile),
        Job("look_again", timedelta(minutes=5), look_again),
        Job("lost_terminals", timedelta(seconds=15), lost_terminals),
        Job("seal_audit", timedelta(seconds=1), seal_audit),
        Job("anchor_audit", timedelta(minutes=1), anchor_audit),
        Job("mails", timedelta(seconds=1), send_mails),
        Job("attention", timedelta(seconds=30), attention),
    )


async def _jobs_until(stop: asyncio.Event, settings: Settings, queue: TaskQueue) -> None:
    container = make_container(settings)
    try:
        bell = await container.get(Bell)
        async with bell.heard() as rung:
            jobs = await jobs_of(container, queue, rung=rung)
            work = asyncio.create_task(keep_all(jobs))
            waiting = asyncio.create_task(stop.wait())
            await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
            for job in (work, waiting):
                job.cancel()
            await asyncio.gather(work, waiting, return_exceptions=True)
    finally:
        await container.close()


async def serve(settings: Settings) -> None:
    """Work until asked to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    broker = make_broker(settings.redis_url)
    queue = TaskQueue.over(broker, TaskRunner(settings))
    consumer = dramatiq.Worker(broker, worker_threads=THREADS, worker_timeout=LOOK_MS)
    await asyncio.to_thread(consumer.start)
    try:
        await _jobs_until(stop, settings, queue)
    finally:
        await asyncio.to_thread(queue.drain, STOP_MS / 1000)
        await asyncio.to_thread(consumer.stop, STOP_MS)
        broker.close()
