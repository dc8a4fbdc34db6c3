"""What the palette finds beyond the pages of the menu: things by name or id, and acts on them."""

from collections.abc import Sequence
from typing import Final

import msgspec
from litestar import get
from litestar.di import NamedDependency, Provide

from gpucloud_core.access.authorize import Action
from gpucloud_core.allocations.lifecycle import PublicStatus
from gpucloud_core.allocations.queries import AllocationLine, ListAllocations
from gpucloud_core.fleet.queries import ListNodes
from gpucloud_core.kernel.rows import ListQuery
from gpucloud_web.pages.visit import Visit, provide_visit
from gpucloud_web.pages.workload_acts import ACTS
from gpucloud_web.pages.workload_rows import ssh_command
from gpucloud_web.status import look_of

FOUND_MAX: Final = 6
ASKED_MAX: Final = 80
TABS: Final = {
    "metrics": ("Metrics of", "chart-line", "getAllocationMetrics"),
    "cost": ("Cost of", "receipt", "listLedger"),
    "access": ("Keys of", "key", "listAllocationKeys"),
}


class Found(msgspec.Struct, kw_only=True, frozen=True):
    """One line of the palette. ``post`` is sent to at once, ``dialog`` asks first."""

    title: str
    group: str
    href: str
    icon: str
    dialog: bool = False
    copy: str = ""
    operation: str = ""


class Answer(msgspec.Struct, kw_only=True, frozen=True):
    """What the palette shows below the pages, best first."""

    items: list[Found]


@get("/find", include_in_schema=False, dependencies={"visit": Provide(provide_visit)})
async def find(visit: NamedDependency[Visit]) -> Answer:
    """Find workloads, projects and, for operators, nodes; a verb in front finds the act."""
    asked = " ".join(visit.request.query_params.get("q", "").split())[:ASKED_MAX]
    if not asked:
        return Answer(items=[])
    first, _, rest = asked.partition(" ")
    verb = first.lower() if first.lower() in {*ACTS, *TABS, "ssh"} else ""
    lines = await _workloads(visit, rest if verb else asked)
    if verb:
        return Answer(items=[one for line in lines for one in _act(line, verb)])
    return Answer(
        items=[
            *(_workload(line) for line in lines),
            *_projects(visit, asked.lower()),
            *(await _nodes(visit, asked)),
        ]
    )


async def _workloads(visit: Visit, text: str) -> Sequence[AllocationLine]:
    if visit.project_id is None:
        return ()
    list_allocations = await visit.use_case(ListAllocations)
    page = await list_allocations(
        actor=visit.actor,
        project_id=visit.project_id,
        query=ListQuery(search=text, limit=FOUND_MAX),
    )
    return page.items


def _workload(line: AllocationLine) -> Found:
    look = look_of("allocation", line.status)
    return Found(
        title=line.allocation.name,
        group=look.words,
        href=f"/workloads/{line.allocation.id}",
        icon=look.icon,
        operation="getAllocation",
    )


def _act(line: AllocationLine, verb: str) -> list[Found]:
    """Return the act on one workload, if it can be done to it just now."""
    row, href = line.allocation, f"/workloads/{line.allocation.id}"
    group = look_of("allocation", line.status).words
    if verb in TABS:
        words, icon, operation = TABS[verb]
        title = f"{words} {row.name}"
        return [
            Found(
                title=title,
                group=group,
                href=f"{href}?tab={verb}",
                icon=icon,
                operation=operation,
            )
        ]
    if verb == "ssh":
        command = ssh_command(row) if line.status is PublicStatus.ACTIVE else ""
        title = f"Copy the SSH command of {row.name}"
        found = Found(title=title, group=group, href=href, icon="copy", copy=command)
        return [found] if command else []
    act = ACTS[verb]
    if line.status not in act.fits:
        return []
    found = Found(
        title=f"{act.verb} {row.name}…",
        group=group,
        href=f"{href}/{verb}",
        icon=act.points[0].icon,
        dialog=True,
        operation=f"{verb}Allocation",
    )
    return [found]


def _projects(visit: Visit, text: str) -> list[Found]:
    return [
        Found(
            title=mine.project.name,
            group="Project",
            href=f"/access/projects/{mine.project.id}",
            icon="box",
            operation="listProjects",
        )
        for mine in visit.me.projects
        if text in mine.project.name.lower() or text == mine.project.id
    ][:FOUND_MAX]


async def _nodes(visit: Visit, text: str) -> list[Found]:
    if not visit.may(Action.NODE_READ):
        return []
    list_nodes = await visit.use_case(ListNodes)
    page = await list_nodes(actor=visit.actor, query=ListQuery(search=text, limit=FOUND_MAX))
    return [
        Found(
            title=line.node.name,
            group=f"Node, {line.node.status}",
            href=f"/admin/nodes/{line.node.id}",
            icon="server",
            operation="listNodes",
        )
        for line in page.items
    ]
