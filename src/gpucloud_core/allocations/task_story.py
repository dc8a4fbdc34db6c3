"""A task's story as it grows: every event once, whatever came between two looks.

Events of different members are written by different workers, so one with an older id may appear
after a newer one. A reader that only remembers the newest id would lose it; this one remembers
which it has told.
"""

from dataclasses import dataclass, field
from typing import Final

from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.queries import ListTaskEvents
from gpucloud_core.kernel.ids import TaskId
from gpucloud_core.work.model import TaskEvent

PAGE: Final = 100


@dataclass(kw_only=True)
class TaskStory:
    """One reader's place in a task's story.

    Attributes:
        after: id of the last event the reader knows; empty for a reader who knows none.
    """

    list_events: ListTaskEvents
    actor: Actor
    task_id: TaskId
    after: str = ""
    _told: set[str] = field(default_factory=set)

    async def fresh(self) -> list[TaskEvent]:
        """Return what was not told yet, oldest first."""
        found: list[TaskEvent] = []
        cursor: str | None = None
        while True:
            page = await self.list_events(
                actor=self.actor, task_id=self.task_id, cursor=cursor, limit=PAGE
            )
            new = [event for event in page.items if event.id not in self._told]
            found += [event for event in new if event.id > self.after]
            cursor = page.next_cursor
            # A page that is all known has nothing new behind it, nor has what the reader knew.
            if cursor is None or not new or page.items[-1].id <= self.after:
                break
        self._told.update(event.id for event in found)
        return sorted(found, key=lambda event: event.id)
