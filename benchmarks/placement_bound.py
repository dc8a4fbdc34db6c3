"""What no placement could exceed: a linear relaxation that sees all arrivals at once.

Nodes alike are poured together and launches may be split, so the bound is on the high side. A
point of a curve is the mean over the arrivals that fall into its window; its bound is the mean of
what had arrived, or of the relaxation at the window's end where that is less.
"""

from collections import Counter

from openb import GPU_MILLI, Node, Pod, Workload
from ortools.linear_solver import pywraplp


def bound(workload: Workload, point: int = 100) -> float:
    """Return the most of all GPUs, in per cent, that could be in use at a point of the curve."""
    percent = workload.gpus * GPU_MILLI / 100
    arrived, seen, window = 0, [], []
    for pod in workload.arrivals:
        arrived += pod.milli
        if round(arrived / percent) > point:
            break
        seen.append(pod)
        if round(arrived / percent) == point:
            window.append(round(arrived / percent, 2))  # as a curve counts it
    most = _relaxed(seen, workload.nodes) / percent
    return sum(min(each, most) for each in window) / len(window)


def _relaxed(pods: list[Pod], nodes: tuple[Node, ...]) -> float:
    """Return the most thousandths of GPUs that the nodes could give to the pods."""
    kinds = Counter(nodes)
    solver = pywraplp.Solver.CreateSolver("GLOP")
    room = {
        node: [
            solver.Constraint(0, count * have)
            for have in (node.gpus * GPU_MILLI, node.cpu_milli, node.memory_mib)
        ]
        for node, count in kinds.items()
    }
    objective = solver.Objective()
    for pod, count in Counter(pods).items():
        all_of = solver.Constraint(0, count)
        for node, rows in room.items():
            if not _fits(pod, node):
                continue
            share = solver.NumVar(0, count, "")
            all_of.SetCoefficient(share, 1)
            needs = (pod.milli, pod.cpu_milli, pod.memory_mib)
            for row, need in zip(rows, needs, strict=True):
                row.SetCoefficient(share, need)
            objective.SetCoefficient(share, pod.milli)
    objective.SetMaximization()
    if solver.Solve() != pywraplp.Solver.OPTIMAL:
        raise SystemExit("the relaxation was not solved")
    return float(objective.Value())


def _fits(pod: Pod, node: Node) -> bool:
    may_use = not pod.num_gpu or not pod.models or node.model in pod.models
    return (
        may_use
        and pod.num_gpu <= node.gpus
        and pod.cpu_milli <= node.cpu_milli
        and pod.memory_mib <= node.memory_mib
    )
