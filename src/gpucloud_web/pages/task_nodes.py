"""What a task on a node comes to, in an operator's words."""

from dataclasses import dataclass

from gpucloud_core.nodes.model import Node
from gpucloud_core.work.model import Step, Task, TaskStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeVerdict:
    """The answer in a sentence, and one next action."""

    strong: str
    text: str
    action: str
    href: str


def node_verdict(task: Task, node: Node) -> NodeVerdict:
    """Return what came of a finished task on ``node``, and where to go on."""
    href = f"/admin/nodes/{node.id}"
    if task.status is not TaskStatus.SUCCEEDED:
        text = task.error_detail or "It did not work."
        return NodeVerdict(strong="Failed.", text=text, action="Open node", href=href)
    match task.kind:
        case "probe_node":
            return _probed(task, node, href)
        case "discover_node":
            return _discovered(task, href)
        case _:
            text = "It is in the new mode. Review its slots and approve them anew."
            return NodeVerdict(
                strong="Changed.", text=text, action="Review slots", href=f"{href}?tab=slots"
            )


def _probed(task: Task, node: Node, href: str) -> NodeVerdict:
    seen = _result(task, "compare")
    answered, missing = seen.result.get("answered", 0), seen.result.get("missing", 0)
    if missing:
        text = f"{missing} of its GPUs did not answer, so it was put into quarantine."
        return NodeVerdict(strong="A GPU is missing.", text=text, action="Open node", href=href)
    text = f"It answered, and {answered} GPUs are there."
    if node.topology.gpus:
        return NodeVerdict(strong="Reachable.", text=text, action="Open node", href=href)
    text = f"{text} Nothing of it is sold yet: discover its inside next."
    return NodeVerdict(strong="Reachable.", text=text, action="Open node", href=href)


def _discovered(task: Task, href: str) -> NodeVerdict:
    match _result(task, "propose").result.get("outcome"):
        case "proposed":
            text = "Its slots are proposed. Review the conditions of each and approve them."
            return NodeVerdict(
                strong="Discovered.", text=text, action="Review slots", href=f"{href}?tab=slots"
            )
        case "drift":
            text = "It is not as it was approved. Nothing was changed."
            return NodeVerdict(
                strong="It differs.",
                text=text,
                action="See the differences",
                href=f"{href}?tab=discovery",
            )
        case _:
            text = "It is as it was approved."
            return NodeVerdict(strong="Unchanged.", text=text, action="Open node", href=href)


def _result(task: Task, key: str) -> Step:
    return next(step for step in task.steps if step.key == key)
