"""Which moves of which lifecycle a world has taken: seen in the rows, as they are committed.

An allocation's moves carry their events. Of the other machines a row shows only from where to
where, so moves between the same two states count as one.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gpucloud_adapters.memory.database import MemoryDatabase
from gpucloud_adapters.memory.simulation.watch import Changed
from gpucloud_adapters.stored.kinds import (
    BILLING_ACCOUNTS,
    NODES,
    PAYMENTS,
    SLOTS,
    STATE_CHANGES,
    WAITLIST,
)
from gpucloud_core.allocations.lifecycle import LIFECYCLE
from gpucloud_core.allocations.model import AllocationState
from gpucloud_core.billing.payment_sessions import PAYMENT_SESSION
from gpucloud_core.billing.standing import STANDING
from gpucloud_core.kernel.machine import Machine
from gpucloud_core.nodes.lifecycle import NODE, SLOT
from gpucloud_core.nodes.model import NodeStatus
from gpucloud_core.waitlist.lifecycle import WAITLIST as WAITS

ALLOCATION: Final = LIFECYCLE.name

_SEEN_IN_ROWS: Final[tuple[tuple[Machine[Any, Any, Any, Any], str, str], ...]] = (
    (SLOT, SLOTS.table, "state"),
    (NODE, NODES.table, "status"),
    (STANDING, BILLING_ACCOUNTS.table, "standing"),
    (PAYMENT_SESSION, PAYMENTS.table, "state"),
    (WAITS, WAITLIST.table, "state"),
)
"""Machines whose moves are seen as a field that changes, and where."""

_NO_USE_CASE: Final = "no use case of the platform does it yet"
_NO_RETIREMENT: Final = "the world's nodes stay: none is retired, and none is enrolled anew"
UNTAKEN: Final[Mapping[str, Mapping[str, str]]] = {
    SLOT.name: {
        "proposed -> available": "the world's nodes join with their slots approved",
        "disabled -> proposed": _NO_RETIREMENT,
        "cleanup_blocked -> available": "what an operator vouches for is cleaning on its way",
    },
    STANDING.name: {
        f"{state} -> {to}": "the world's provider has no disputes yet"
        for state, moves in STANDING.moves.items()
        for to in {move.to for move in moves.values()}
        if "suspended" in {state, to}
    },
    PAYMENT_SESSION.name: {
        f"{state} -> {to}": _NO_USE_CASE
        for state, moves in PAYMENT_SESSION.moves.items()
        for to in {move.to for move in moves.values()}
        if "cancelled" in {state, to}
    },
    NODE.name: {
        f"{state} -> {move.to}": _NO_RETIREMENT
        for state, moves in NODE.moves.items()
        for move in moves.values()
        if {state, move.to} & {NodeStatus.ENROLLING, NodeStatus.RETIRED, NodeStatus.DELETED}
    },
}
"""Moves that no world takes, and why."""


def _named(machine: Machine[Any, Any, Any, Any], was: object, event: str, to: object) -> str:
    return f"{was} -{event}-> {to}" if machine is LIFECYCLE else f"{was} -> {to}"


def possible(machine: Machine[Any, Any, Any, Any]) -> frozenset[str]:
    """Return the name of every move in a table."""
    return frozenset(
        _named(machine, state, event, move.to)
        for state, moves in machine.moves.items()
        for event, move in moves.items()
    )


MOVES: Final[Mapping[str, frozenset[str]]] = {
    machine.name: possible(machine) for machine in (LIFECYCLE, *(row[0] for row in _SEEN_IN_ROWS))
}
"""By machine, all that can be taken."""


@dataclass(frozen=True, slots=True)
class Untaken:
    """A move that was not taken; without a reason a longer or a wilder world should take it."""

    machine: str
    move: str
    why: str


def untaken(taken: Mapping[str, Mapping[str, int]]) -> Iterator[Untaken]:
    """Give every move that none of these counts has."""
    for machine, moves in MOVES.items():
        for move in sorted(moves - taken.get(machine, {}).keys()):
            yield Untaken(machine, move, UNTAKEN.get(machine, {}).get(move, ""))


class Coverage:
    """Counts the moves of one world."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._states: dict[str, object] = {}
        self._taken: dict[str, Counter[str]] = {name: Counter() for name in MOVES}

    @property
    def taken(self) -> dict[str, dict[str, int]]:
        return {name: dict(sorted(counts.items())) for name, counts in self._taken.items()}

    def look(self, changed: Changed) -> None:
        """Count what a commit has moved."""
        for key in changed.get(STATE_CHANGES.table, ()):
            change = self._database.table(STATE_CHANGES).rows[key]
            was = self._states.get(change.allocation_id)
            self._states[change.allocation_id] = change.state
            if isinstance(was, AllocationState):
                move = _named(LIFECYCLE, was, change.event, change.state)
                self._taken[ALLOCATION][move] += 1
        for machine, table, field in _SEEN_IN_ROWS:
            for key in changed.get(table, ()):
                self._look_at(machine, f"{table}/{key}", table, key, field)

    def _look_at(
        self, machine: Machine[Any, Any, Any, Any], name: str, table: str, key: str, field: str
    ) -> None:
        row = self._database.tables[table].rows.get(key)
        if row is None:
            return
        now, was = getattr(row, field), self._states.get(name)
        self._states[name] = now
        if was is not None and was is not now:
            self._taken[machine.name][_named(machine, was, "", now)] += 1
