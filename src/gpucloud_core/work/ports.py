"""Rows of work."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gpucloud_core.kernel.ids import TaskId
from gpucloud_core.kernel.rows import Rows
from gpucloud_core.kernel.unit import Event, Unit
from gpucloud_core.work.model import Task, TaskEvent


class Tasks(Rows[Task], Protocol):
    async def due(self, now: datetime, *, limit: int) -> Sequence[TaskId]:
        """Return unfinished tasks that are due and not under a living lease, oldest first."""
        ...

    async def usual_seconds(self, kind: str, step: str) -> int | None:
        """Return the median of the last 50 successes of a step, or None under five of them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """An event that was committed, and its place in the order of commits of its subject."""

    seq: int
    event: Event
    created_at: datetime


class Outbox(Protocol):
    """Events that were emitted and not yet handed on."""

    async def take(self, *, limit: int) -> Sequence[OutboxRow]:
        """Return the oldest unpublished events, locked, skipping those another relay holds."""
        ...

    async def published(self, seqs: Sequence[int]) -> None:
        """Mark events handed on; done in the transaction that took them."""
        ...


class WorkUnit(Unit, Protocol):
    @property
    def outbox(self) -> Outbox: ...
    @property
    def tasks(self) -> Tasks: ...
    @property
    def task_events(self) -> Rows[TaskEvent]: ...
