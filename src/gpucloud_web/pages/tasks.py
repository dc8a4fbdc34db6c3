"""The task page: the primary place to follow work, at an address that stays."""

from dishka.integrations.litestar import FromDishka
from litestar import Controller, Response, get
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath

from gpucloud_core.access.authorize import Action
from gpucloud_core.allocations.queries import ListTaskEvents, ReadTask
from gpucloud_core.kernel.ids import TaskId, parse_id
from gpucloud_web.pages.task_rows import TaskPage
from gpucloud_web.pages.visit import Visit, provide_visit

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
        )
        return visit.page("tasks/detail.html", view)
