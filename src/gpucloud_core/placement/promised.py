"""The promises that a launch meets: its own, which it uses, and those of others, which it keeps."""

from collections.abc import Iterable
from datetime import datetime

from gpucloud_core.kernel.ids import ProjectId, UserId
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.placement.model import PlacementRequest
from gpucloud_core.placement.ports import PlacementUnit
from gpucloud_core.placement.promises import Promise, in_force


class PromisesMet:
    """What of a pool is promised, to whom a launch matters; read anew for each decision."""

    def __init__(
        self,
        unit: PlacementUnit,
        wanted: PlacementRequest,
        *,
        user_id: UserId | None,
        project_id: ProjectId,
        now: datetime,
    ) -> None:
        self._unit = unit
        self._wanted = wanted
        self._key = (user_id, project_id, wanted.sku_id, wanted.gpu_count)
        self._now = now
        self._mine: Promise | None = None

    async def of_others(self) -> list[Promise]:
        """Return the promises that this launch keeps as they stand now."""
        return self.among(await self._unit.promises.find(pool=self._wanted.pool))

    def among(self, promises: Iterable[Promise]) -> list[Promise]:
        """Return those of a pool's promises that this launch keeps: all but the one it may use."""
        self._mine = None
        others: list[Promise] = []
        for promise in in_force(promises, self._now):
            whose = (promise.user_id, promise.project_id, promise.sku_id, promise.gpu_count)
            if self._mine is None and whose == self._key:
                self._mine = promise
            else:
                others.append(promise)
        return others

    async def use(self) -> None:
        """End the promise that was made to just this launch, if there is one: it has its room."""
        if self._mine is not None:
            await drop(self._unit, self._mine.id)


async def drop(unit: PlacementUnit, promise_id: str) -> None:
    """End a promise: it was used, or is not wanted any more. Again is fine."""
    async with unit.within(Scope.platform()) as part:
        await part.promises.delete(promise_id)
