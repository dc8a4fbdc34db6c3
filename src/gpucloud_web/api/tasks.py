"""Follow a task: its steps, its story, and a stream that resumes."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Final

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter
from litestar.response import ServerSentEvent, ServerSentEventMessage

from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.follow import CancelTask, RetryFailed
from gpucloud_core.allocations.queries import ListTaskEvents, ReadTask, TaskView, is_over
from gpucloud_core.allocations.task_story import TaskStory
from gpucloud_core.kernel.ids import TaskId, parse_id
from gpucloud_core.work.model import Step, Task, TaskEvent
from gpucloud_web.api.allocation_bodies import AcceptedBody
from gpucloud_web.api.lists import Cursor, Limit, Listing, listing
from gpucloud_web.keyed import OPT, Once

POLL_SECONDS = 1.0
HEARTBEAT_POLLS = 15
STREAM_POLLS_MAX = 3600
END: Final = "end"  # the last event of a stream, once the task is over


class StepBody(msgspec.Struct, kw_only=True):
    key: str
    title: str
    status: str
    attempt: int
    started_at: datetime | None
    finished_at: datetime | None
    usual_seconds: int
    reason: str

    @classmethod
    def of(cls, step: Step) -> "StepBody":
        return cls(
            key=step.key,
            title=step.title,
            status=step.status,
            attempt=step.attempt,
            started_at=step.started_at,
            finished_at=step.finished_at,
            usual_seconds=step.usual_seconds,
            reason=step.reason,
        )


class MemberBody(msgspec.Struct):
    """One machine of a batch."""

    id: str
    allocation_id: str
    status: str
    error: str | None


class ErrorBody(msgspec.Struct):
    code: str
    detail: str


class TaskBody(msgspec.Struct, kw_only=True):
    id: str
    kind: str
    status: str
    allocation_ids: list[str]
    steps: list[StepBody]
    members: list[MemberBody]
    together: bool
    wait_reason: str
    cancel_requested_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: ErrorBody | None

    @classmethod
    def of(cls, view: TaskView) -> "TaskBody":
        task = view.task
        return cls(
            id=task.id,
            kind=task.kind,
            status=task.status,
            allocation_ids=[allocation.id for allocation in view.allocations],
            steps=[StepBody.of(step) for step in task.steps],
            members=[_member(member) for member in view.members],
            together=bool(task.data.get("together")),
            wait_reason=task.wait_reason,
            cancel_requested_at=task.cancel_requested_at,
            created_at=task.created_at,
            started_at=task.started_at,
            finished_at=task.finished_at,
            error=ErrorBody(task.error, task.error_detail) if task.error else None,
        )


def _member(task: Task) -> MemberBody:
    return MemberBody(task.id, task.subject, task.status, task.error or None)


class TaskEventBody(msgspec.Struct):
    id: str
    task_id: str
    at: datetime
    kind: str
    step: str
    text: str

    @classmethod
    def of(cls, event: TaskEvent) -> "TaskEventBody":
        return cls(event.id, event.task_id, event.at, event.kind, event.step, event.text)


LastEventId = Annotated[str, HeaderParameter(name="Last-Event-ID")]


class Tasks(Controller):
    path = "/tasks/{task_id:str}"
    tags = ["tasks"]

    @get(operation_id="getTask")
    async def show(
        self,
        task_id: FromPath[str],
        actor: NamedDependency[Actor],
        read_task: FromDishka[ReadTask],
    ) -> TaskBody:
        """Read a task with its steps."""
        found = TaskId(parse_id("tsk", task_id))
        return TaskBody.of(await read_task(actor=actor, task_id=found))

    @post("/cancel", operation_id="cancelTask", status_code=202)
    async def cancel(
        self,
        task_id: FromPath[str],
        actor: NamedDependency[Actor],
        cancel_task: FromDishka[CancelTask],
        read_task: FromDishka[ReadTask],
    ) -> TaskBody:
        """Cancel a launch; of a batch, whatever is not active yet."""
        found = TaskId(parse_id("tsk", task_id))
        await cancel_task(actor=actor, task_id=found)
        return TaskBody.of(await read_task(actor=actor, task_id=found))

    @post("/retry", operation_id="retryFailed", status_code=202, opt={OPT: Once.REQUIRED})
    async def retry(
        self,
        task_id: FromPath[str],
        actor: NamedDependency[Actor],
        retry_failed: FromDishka[RetryFailed],
    ) -> AcceptedBody:
        """Launch again what failed, in the same batch."""
        found = TaskId(parse_id("tsk", task_id))
        accepted = await retry_failed(actor=actor, task_id=found)
        return AcceptedBody.of(accepted)

    @get("/events", operation_id="listTaskEvents")
    async def events(
        self,
        task_id: FromPath[str],
        actor: NamedDependency[Actor],
        list_task_events: FromDishka[ListTaskEvents],
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Listing[TaskEventBody]:
        """List a task's events, newest first."""
        found = TaskId(parse_id("tsk", task_id))
        page = await list_task_events(actor=actor, task_id=found, cursor=cursor, limit=limit)
        return listing(page, TaskEventBody.of)

    @get("/stream", operation_id="streamTask", media_type="text/event-stream")
    async def stream(
        self,
        task_id: FromPath[str],
        actor: NamedDependency[Actor],
        read_task: FromDishka[ReadTask],
        list_task_events: FromDishka[ListTaskEvents],
        last_event_id: LastEventId = "",
    ) -> ServerSentEvent:
        """Stream a task's events as they happen; resumes after ``Last-Event-ID``."""
        found = TaskId(parse_id("tsk", task_id))
        await read_task(actor=actor, task_id=found)
        story = TaskStory(
            list_events=list_task_events, actor=actor, task_id=found, after=last_event_id
        )
        return ServerSentEvent(_follow(read_task, story))


async def _follow(read_task: ReadTask, story: TaskStory) -> AsyncIterator[ServerSentEventMessage]:
    """Yield what happens until the task is over; each look is a short unit of its own."""
    seen, quiet = story.after, 0
    for _ in range(STREAM_POLLS_MAX):
        # Looked at before the events: what ended it is then among them.
        over = is_over((await read_task(actor=story.actor, task_id=story.task_id)).task)
        fresh = await story.fresh()
        for event in fresh:
            seen = max(seen, event.id)
            body = msgspec.json.encode(TaskEventBody.of(event)).decode()
            yield ServerSentEventMessage(data=body, event=event.kind, id=event.id)
        if over:
            yield ServerSentEventMessage(data="{}", event=END, id=seen)
            return
        quiet = 0 if fresh else quiet + 1
        if quiet == HEARTBEAT_POLLS:
            quiet = 0
            yield ServerSentEventMessage(comment="still here")
        await asyncio.sleep(POLL_SECONDS)
