"""A state machine is a literal table, checked when it is built.

``Machine.decide`` is the only way to change a status. Effects are data that the caller carries
out; an illegal event is an error value. Docs, diagrams and tests are made from the table.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, TypeVar

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)
X = TypeVar("X", bound=StrEnum)
F = TypeVar("F")


@dataclass(frozen=True)
class StateRow(Generic[S, E]):
    """What is true in one state.

    Attributes:
        meaning: one sentence for people.
        billed: whether time spent here is charged by the table alone (facts may say otherwise).
        usual: how long it usually takes, before history says better; ``None`` if it may last.
        limit: how long it may last, and the event that ends it then.
        failed_twin: the state that says this one did not succeed.
    """

    meaning: str
    billed: bool = False
    usual: timedelta | None = None
    limit: tuple[timedelta, E] | None = None
    failed_twin: S | None = None


@dataclass(frozen=True)
class Move(Generic[S, X, F]):
    """Where an event leads, what must be done, and what must be so first."""

    to: S
    effects: tuple[X, ...] = ()
    guard: Callable[[F], str | None] | None = None  # the reason it may not, or None


@dataclass(frozen=True)
class Decision(Generic[S, X]):
    """The new state and the effects to carry out in the same transaction."""

    state: S
    effects: tuple[X, ...] = ()


@dataclass(frozen=True)
class Refused(Generic[S, E]):
    """The event is not possible: from which state, and why."""

    state: S
    event: E
    reason: str


@dataclass(frozen=True)
class Machine(Generic[S, E, X, F]):
    """States, events, guards, effects, money and limits of one kind of object."""

    name: str
    initial: S
    states: Mapping[S, StateRow[S, E]]
    moves: Mapping[S, Mapping[E, Move[S, X, F]]]

    def __post_init__(self) -> None:
        universe = set(type(self.initial))
        if set(self.states) != universe or set(self.moves) != universe:
            raise ValueError(f"{self.name}: each state needs a row and a set of moves")
        if lost := universe - self._reachable():
            raise ValueError(f"{self.name}: nothing leads to {sorted(lost)}")
        if stuck := universe - self._leading_to_an_end():
            raise ValueError(f"{self.name}: no way out of {sorted(stuck)}")
        for state, row in self.states.items():
            if row.limit and row.limit[1] not in self.moves[state]:
                raise ValueError(f"{self.name}: the limit of {state} ends with an unknown event")

    def _reachable(self) -> set[S]:
        reached, frontier = {self.initial}, [self.initial]
        while frontier:
            for move in self.moves[frontier.pop()].values():
                if move.to not in reached:
                    reached.add(move.to)
                    frontier.append(move.to)
        return reached

    def _leading_to_an_end(self) -> set[S]:
        # A cycle, such as a slot's life, ends where it begins.
        leading = {state for state, moves in self.moves.items() if not moves} or {self.initial}
        while grown := {
            state
            for state, moves in self.moves.items()
            if state not in leading and any(move.to in leading for move in moves.values())
        }:
            leading |= grown
        return leading

    def decide(self, state: S, event: E, facts: F) -> Decision[S, X] | Refused[S, E]:
        """Return where ``event`` leads from ``state``, or why it does not."""
        move = self.moves[state].get(event)
        if move is None:
            return Refused(state, event, f"{event} is not possible while {state}")
        if move.guard is not None and (reason := move.guard(facts)) is not None:
            return Refused(state, event, reason)
        return Decision(move.to, move.effects)

    def overdue(self, state: S, since: datetime, now: datetime) -> E | None:
        """Return the event that ends ``state`` because it outlived its limit, if it did."""
        limit = self.states[state].limit
        return limit[1] if limit is not None and now - since >= limit[0] else None

    def is_final(self, state: S) -> bool:
        return not self.moves[state]

    @property
    def events(self) -> frozenset[E]:
        return frozenset(event for moves in self.moves.values() for event in moves)
