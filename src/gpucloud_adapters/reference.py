"""Prints the reference pages from the tables they describe: ``python -m …reference FOLDER``.

A test compares what is printed with what is committed, so that no page can go stale.
"""

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import gpucloud_core
from gpucloud_core.access.authorize import GRANTS, InProject, InTenant, OnPlatform
from gpucloud_core.allocations.lifecycle import LIFECYCLE
from gpucloud_core.allocations.reasons import REASONS
from gpucloud_core.allocations.saga import SAGAS
from gpucloud_core.billing.payment_sessions import PAYMENT_SESSION
from gpucloud_core.billing.standing import STANDING
from gpucloud_core.fleet.tasks import PLATFORM_SAGAS
from gpucloud_core.kernel.errors import ERRORS
from gpucloud_core.kernel.machine import Machine
from gpucloud_core.nodes.lifecycle import NODE, SLOT
from gpucloud_core.waitlist.lifecycle import WAITLIST

MACHINES: Final[tuple[Machine[Any, Any, Any, Any], ...]] = (
    LIFECYCLE,
    SLOT,
    NODE,
    PAYMENT_SESSION,
    STANDING,
    WAITLIST,
)


def lifecycles() -> str:
    """Return every state machine: meaning, money, limits, arrows, and a diagram."""
    parts = ["# Lifecycles\n", "Printed from the tables that decide (`make docs`).\n"]
    for machine in MACHINES:
        parts.append(f"\n## {machine.name.capitalize()}\n")
        parts.append(
            "| state | meaning | billed | usually | limit | leaves to |\n|---|---|---|---|---|---|"
        )
        for state, row in machine.states.items():
            limit = f"{row.limit[0]}, then {row.limit[1]}" if row.limit else "–"
            arrows = ", ".join(
                f"{event} → {move.to}" for event, move in machine.moves[state].items()
            )
            billed = "yes" if row.billed else "no"
            usual = str(row.usual) if row.usual else "–"
            parts.append(
                f"| {state} | {row.meaning} | {billed} | {usual} | {limit} | {arrows or '–'} |"
            )
        parts.append("\n```mermaid\nstateDiagram-v2")
        parts.append(f"  [*] --> {machine.initial}")
        parts.extend(
            f"  {state} --> {move.to}: {event}"
            for state, moves in machine.moves.items()
            for event, move in moves.items()
        )
        parts.append("```")
    return "\n".join(parts) + "\n"


def errors() -> str:
    """Return every error code with its meaning and what to do next."""
    rows = [
        (code, kind.kind, kind.title(), kind.next_step)
        for code, kind in sorted(ERRORS.items())
        if kind.__module__.startswith("gpucloud_core.")  # whatever else this process imported
    ]
    reasons = [
        (r.code, r.words, r.money, r.next_action, "yes" if r.retryable else "no")
        for r in REASONS.values()
    ]
    return (
        "# Errors\n\nPrinted from the core's registry (`make docs`). A code never changes its"
        " meaning; the words may.\n\n"
        + _table(("code", "kind", "what happened", "what to do"), rows)
        + "\n## Failure reasons of allocations\n\n"
        + _table(("code", "what happened", "your money", "what to do", "retry helps"), reasons)
    )


def access() -> str:
    """Return who may do what."""
    rows = []
    for action, grant in GRANTS.items():
        match grant:
            case InProject(weakest):
                rows.append((action, "project", f"{weakest} and stronger"))
            case InTenant(weakest):
                rows.append((action, "tenant", f"{weakest} and stronger"))
            case OnPlatform(roles):
                rows.append((action, "platform", ", ".join(roles)))
    return "# Access\n\nPrinted from the table that decides (`make docs`).\n\n" + _table(
        ("action", "level", "who may"), rows
    )


def tasks() -> str:
    """Return the steps of every kind of task."""
    parts = ["# Tasks\n\nPrinted from the sagas (`make docs`). Durations are the defaults until"]
    parts.append("history says better.\n")
    for saga in (*SAGAS.values(), *PLATFORM_SAGAS.values()):
        undone = "A failure or a cancel undoes it." if saga.undoes else "It has no way back."
        parts.append(f"\n## {saga.title}\n\n{undone}\n")
        rows = [
            (
                plan.key,
                plan.title,
                f"{plan.usual.total_seconds():.0f} s",
                f"{plan.timeout.total_seconds():.0f} s",
                str(plan.attempts),
                "yes" if plan.leaves else "no",
            )
            for plan in saga.steps
        ]
        parts.append(_table(("step", "title", "usually", "timeout", "attempts", "undone"), rows))
    return "\n".join(parts)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    lines.extend(f"| {' | '.join(str(cell) for cell in row)} |" for row in rows)
    return "\n".join(lines) + "\n"


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "lifecycles.md": lifecycles,
    "errors.md": errors,
    "access.md": access,
    "tasks.md": tasks,
}


def load_core() -> None:
    """Import every module of the core, so that every error has registered itself."""
    for module in pkgutil.walk_packages(gpucloud_core.__path__, "gpucloud_core."):
        importlib.import_module(module.name)


def main(folder: Path) -> None:
    """Write every page into ``folder``."""
    load_core()
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
