"""What tenants are told where a node said no: what it means for their work, money and next step.

A node's own words stay with the task, for operators. They end in the code of a refusal, and that
is how they are known here. Pure.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from gpucloud_core.work.model import Task, TaskEvent, TaskEventKind

_OF_A_NODE: Final = re.compile(r"\((?P<code>[a-z][a-z0-9_]*)\)\Z")
_SAID: Final[Mapping[str, str]] = {
    "internal": "The machine's own program failed at this step.",
    "busy": "The machine was still busy with an earlier order.",
    "disk_not_blank": "A local disk of the machine was not empty, so it was not given to you.",
    "not_started": "Your machine did not start.",
    "ssh_not_ready": "Your machine started, but its SSH server did not answer.",
}
_NO: Final = "The machine could not do this step."
_MONEY: Final[Mapping[str, str]] = {
    "batch": "Nothing is billed until it is active.",
    "provision": "Nothing is billed until it is active.",
    "release": "Billing has stopped already.",
}
_AGAIN: Final = frozenset(
    {
        TaskEventKind.STEP_ACTIVE,
        TaskEventKind.STEP_RETRYING,
        TaskEventKind.STEP_UNDOING,
        TaskEventKind.STEP_UNDO_RETRYING,
    }
)


def to_tenant(text: str, *, kind: str, goes_on: bool) -> str:
    """Return ``text`` as the tenant of a task of ``kind`` reads it.

    ``goes_on`` says that the step is tried again. What no node said is left as it is.
    """
    found = _OF_A_NODE.search(text)
    if found is None:
        return text
    then = "It is tried again by itself." if goes_on else "Operators see the cause."
    said = (_SAID.get(found["code"], _NO), _MONEY.get(kind, ""), then)
    return " ".join(filter(None, said))


def task_to_tenant(task: Task) -> Task:
    """Return a task without a node's own words. What it waits for names the step before them."""
    kind, moving = task.kind, task.finished_at is None
    doing, colon, reason = task.wait_reason.partition(": ")
    waits = f"{doing}: {to_tenant(reason, kind=kind, goes_on=True)}" if colon else doing
    return replace(
        task,
        steps=tuple(
            replace(
                step,
                reason=to_tenant(
                    step.reason, kind=kind, goes_on=moving and step.finished_at is None
                ),
            )
            for step in task.steps
        ),
        wait_reason=waits,
        error_detail=to_tenant(task.error_detail, kind=kind, goes_on=False),
    )


def event_to_tenant(event: TaskEvent, kind: str) -> TaskEvent:
    """Return a line of a story likewise."""
    return replace(event, text=to_tenant(event.text, kind=kind, goes_on=event.kind in _AGAIN))
