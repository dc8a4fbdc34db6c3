"""What the palette finds beyond the pages of the menu: things by name or mark, and acts on them.

It is asked while one types, so it makes no visit of its own: who asks, their projects, and what was
found are all that is read.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import Request, get
from litestar.datastructures import State
from litestar.di import NamedDependency

from gpucloud_core.access.authorize import Action, Allowed, authorize
from gpucloud_core.access.model import Actor, User
from gpucloud_core.access.projects import ListProjects, ProjectOfMine
from gpucloud_core.allocations.lifecycle import PublicStatus
from gpucloud_core.fleet.find import FOUND_MAX, FindThings, FoundAllocation
from gpucloud_core.kernel.ids import ProjectId
from gpucloud_core.nodes.lifecycle import NODE, NodeEvent
from gpucloud_core.nodes.model import Node
from gpucloud_web.caller import PROJECT_COOKIE
from gpucloud_web.pages.addresses import address
from gpucloud_web.pages.node_words import BY_PATH, VERBS
from gpucloud_web.pages.workload_acts import ACTS
from gpucloud_web.pages.workload_rows import ssh_command
from gpucloud_web.status import look_of

ASKED_MAX: Final = 80
TABS: Final = {
    "metrics": ("Metrics of", "chart-line", "getAllocationMetrics"),
    "cost": ("Cost of", "receipt", "listLedger"),
    "access": ("Keys of", "key", "listAllocationKeys"),
}
FORCE: Final = "force-release"
OF_WORKLOADS: Final = (*ACTS, *TABS, "ssh", "terminal")
OF_OPERATORS: Final = (*BY_PATH, FORCE)
SHELLS: Final = frozenset({PublicStatus.ACTIVE, PublicStatus.DEGRADED})
GRADE_TYPED: Final = 3


class Found(msgspec.Struct, kw_only=True, frozen=True):
    """One line of the palette. ``post`` is sent to ``href`` at once, ``dialog`` asks first."""

    title: str
    group: str
    href: str
    icon: str
    dialog: bool = False
    copy: str = ""
    operation: str = ""
    post: dict[str, str] = msgspec.field(default_factory=dict)


class Answer(msgspec.Struct, kw_only=True, frozen=True):
    """What the palette shows below the pages, best first."""

    items: list[Found]


@get("/find", include_in_schema=False)
async def find(
    request: Request[Any, Any, State],
    actor: NamedDependency[Actor],
    list_projects: FromDishka[ListProjects],
    find_things: FromDishka[FindThings],
) -> Answer:
    """Find workloads, projects, nodes and people; a verb in front finds the act."""
    asked = " ".join(request.query_params.get("q", "").split())[:ASKED_MAX]
    if not asked:
        return Answer(items=[])
    projects = await list_projects(actor=actor)
    verb, rest = _verb_of(asked, actor)
    here = _here(request, projects)
    found = await find_things(actor=actor, project_id=here, text=rest)
    if verb:
        return Answer(
            items=[
                *(one for each in found.allocations for one in _act(each, verb)),
                *(one for each in found.elsewhere for one in _forced(each, verb, actor)),
                *(one for node in found.nodes for one in _node_act(node, verb, actor)),
            ]
        )
    return Answer(
        items=[
            *(_workload(each) for each in found.allocations),
            *_acts_of_the_one(found.allocations),
            *_projects(projects, here, asked.casefold()),
            *(_node(node) for node in found.nodes),
            *(_elsewhere(each) for each in found.elsewhere),
            *(_user(user) for user in found.users if _may(actor, Action.AUDIT_READ)),
        ]
    )


def _verb_of(asked: str, actor: Actor) -> tuple[str, str]:
    """Return the verb in front, if there is one, and what follows it."""
    first, _, rest = asked.partition(" ")
    verb = first.lower()
    if verb in OF_WORKLOADS or (verb in OF_OPERATORS and rest and _may(actor, Action.NODE_OPERATE)):
        return verb, rest
    return "", asked


def _here(request: Request[Any, Any, State], projects: Sequence[ProjectOfMine]) -> ProjectId | None:
    """Return the project that the pages are in."""
    known = [mine.project.id for mine in projects]
    remembered = ProjectId(request.cookies.get(PROJECT_COOKIE, ""))
    return remembered if remembered in known else next(iter(known), None)


def _may(actor: Actor, action: Action) -> bool:
    return isinstance(authorize(actor, action), Allowed)


def _workload(found: FoundAllocation) -> Found:
    look = look_of("allocation", found.status)
    return Found(
        title=found.allocation.name,
        group=look.words,
        href=f"/workloads/{found.allocation.id}",
        icon=look.icon,
        operation="getAllocation",
    )


def _acts_of_the_one(found: Sequence[FoundAllocation]) -> list[Found]:
    """Return what can be done with the only workload that was found."""
    if len(found) != 1:
        return []
    return [one for verb in ("ssh", "terminal", *ACTS) for one in _act(found[0], verb)]


def _act(found: FoundAllocation, verb: str) -> list[Found]:
    """Return the act on one workload, if it can be done to it just now."""
    row, href = found.allocation, f"/workloads/{found.allocation.id}"
    group = look_of("allocation", found.status).words
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
        command = ssh_command(row) if found.status is PublicStatus.ACTIVE else ""
        title = f"Copy the SSH command of {row.name}"
        copied = Found(title=title, group=group, href=href, icon="copy", copy=command)
        return [copied] if command else []
    if verb == "terminal" and found.status in SHELLS:
        title = f"Open a terminal on {row.name}"
        href = f"{href}?terminal=open"
        return [Found(title=title, group=group, href=href, icon="terminal-2")]
    act = ACTS.get(verb)
    if act is None or found.status not in act.fits:
        return []
    asks = Found(
        title=f"{act.verb} {row.name}…",
        group=group,
        href=f"{href}/{verb}",
        icon=act.points[0].icon,
        dialog=True,
        operation=f"{verb}Allocation",
    )
    return [asks]


def _elsewhere(found: FoundAllocation) -> Found:
    look = look_of("allocation", found.status)
    return Found(
        title=found.allocation.name,
        group=f"Any tenant, {look.words.lower()}",
        href=f"/admin/allocations/{found.allocation.id}",
        icon=look.icon,
        operation="listAnyAllocations",
    )


def _forced(found: FoundAllocation, verb: str, actor: Actor) -> list[Found]:
    if verb != FORCE or not _may(actor, Action.ANY_ALLOCATION_FORCE):
        return []
    row = found.allocation
    asks = Found(
        title=f"Force the release of {row.name}…",
        group="Any tenant",
        href=f"/admin/allocations/{row.id}/{FORCE}",
        icon="eraser",
        dialog=True,
        operation="forceRelease",
    )
    return [asks]


def _projects(projects: Sequence[ProjectOfMine], here: ProjectId | None, text: str) -> list[Found]:
    """Return the projects one could go to; pages are in one at a time."""
    return [
        Found(
            title=f"Switch to {mine.project.name}",
            group="Project",
            href="/preferences/project",
            icon="box",
            operation="listProjects",
            post={"project_id": mine.project.id},
        )
        for mine in projects
        if mine.project.id != here
        and (text in mine.project.name.casefold() or text == mine.project.id)
    ][:FOUND_MAX]


def _node(node: Node) -> Found:
    return Found(
        title=node.name,
        group=f"Node, {node.status}",
        href=f"/admin/nodes/{node.id}",
        icon="server",
        operation="listNodes",
    )


def _node_act(node: Node, verb: str, actor: Actor) -> list[Found]:
    """Return the act on one node, if its status allows it; what else forbids it, its page says."""
    event = BY_PATH.get(verb)
    if event is None or event not in NODE.moves[node.status]:
        return []
    act = VERBS[event]
    is_heavy = act.grade == GRADE_TYPED and event is not NodeEvent.QUARANTINE
    if not _may(actor, Action.NODE_MANAGE if is_heavy else Action.NODE_OPERATE):
        return []
    asks = Found(
        title=f"{act.title} {node.name}…",
        group=f"Node, {node.status}",
        href=f"/admin/nodes/{node.id}/{act.path}",
        icon=act.icon,
        dialog=True,
        operation=act.operation,
    )
    return [asks]


def _user(user: User) -> Found:
    return Found(
        title=user.username,
        group="Person, what they did",
        href=address("/admin/audit-logs", q=user.username),
        icon="user",
        operation="listAuditLogs",
    )
