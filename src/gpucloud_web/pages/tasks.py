"""The task page: the primary place to follow work, at an address that stays."""

from dishka.integrations.litestar import FromDishka
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect

from gpucloud_core.access.authorize import Action
from gpucloud_core.allocations.follow import CancelTask, RetryFailed
from gpucloud_core.allocations.queries import ListTaskEvents, ReadTask
from gpucloud_core.kernel.ids import TaskId, parse_id
from gpucloud_web.pages.rendered import see_other
from gpucloud_web.pages.task_rows import TaskPage
from gpucloud_web.pages.visit import Visit, form_of, fresh_key, one, provide_visit

EVENTS_SHOWN = 25


class TaskPages(Controller):
    path = "/tasks/{task_id:str}"
    include_in_schema = False
    dependencies = {"visit": Provide(provide_visit)}

    @get()
    async def show(
        self,
        task_id: FromPath[str],
        visit: NamedDependency[Visit],
        read_task: FromDishka[ReadTask],
        list_task_events: FromDishka[ListTaskEvents],
    ) -> Response[str]:
        """Show every step, the verdict, and the story, newest first."""
        found = TaskId(parse_id("tsk", task_id))
        cursor = visit.request.query_params.get("cursor") or None
        view = TaskPage.of(
            await read_task(actor=visit.actor, task_id=found),
            events=await list_task_events(
                actor=visit.actor, task_id=found, cursor=cursor, limit=EVENTS_SHOWN
            ),
            names=await visit.sku_names(),
            zone=visit.zone,
            may_cancel=visit.may(Action.ALLOCATION_CANCEL),
            may_launch=visit.may(Action.ALLOCATION_LAUNCH),
            idempotency_key=fresh_key(),
        )
        return visit.page("tasks/detail.html", view)

    @post("/cancel", status_code=303)
    async def cancel(
        self,
        task_id: FromPath[str],
        visit: NamedDependency[Visit],
        cancel_task: FromDishka[CancelTask],
    ) -> Redirect:
        """Cancel what of the launch is still on its way."""
        await cancel_task(actor=visit.actor, task_id=TaskId(parse_id("tsk", task_id)))
        return see_other(f"/tasks/{task_id}")

    @post("/retry", status_code=303)
    async def retry(
        self,
        task_id: FromPath[str],
        visit: NamedDependency[Visit],
        retry_failed: FromDishka[RetryFailed],
    ) -> Redirect:
        """Launch again what failed, once per press."""
        form = await form_of(visit.request)

        async def retry() -> str:
            found = TaskId(parse_id("tsk", task_id))
            return (await retry_failed(actor=visit.actor, task_id=found)).task_id

        return see_other(f"/tasks/{await visit.once(one(form, 'idempotency_key'), retry)}")
