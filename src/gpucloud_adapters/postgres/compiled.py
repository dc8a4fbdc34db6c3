"""Statements as the driver takes them: their text, made once, and the order of their values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, cast

from sqlalchemy import ClauseElement, Dialect, Executable
from sqlalchemy.dialects.postgresql import asyncpg as driver
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import UpdateBase

_DIALECT: Final[Dialect] = driver.dialect()  # type: ignore[no-untyped-call]  # it has no types


@dataclass(frozen=True, slots=True)
class Compiled:
    """A statement for the driver.

    Attributes:
        sql: with ``$1`` and so on where values go.
        values: name and default of each value, in their order.
    """

    sql: str
    values: tuple[tuple[str, Any], ...]

    @classmethod
    def of(cls, statement: Executable, names: tuple[str, ...]) -> Self:
        """Return ``statement`` compiled; ``names`` are those of the values it will be given.

        Which columns an insertion or a change is about is said by the names.
        """
        compiled = cast("ClauseElement", statement).compile(
            dialect=_DIALECT,
            column_keys=list(names) if isinstance(statement, UpdateBase) else None,
        )
        assert isinstance(compiled, SQLCompiler)  # noqa: S101  what a statement compiles to
        assert not compiled.post_compile_params, "lists are arrays here"  # noqa: S101  they are
        defaults = compiled.construct_params(_check=False)
        order = compiled.positiontup or ()
        return cls(compiled.string, tuple((name, defaults.get(name)) for name in order))

    def arguments(self, given: Mapping[str, Any]) -> list[Any]:
        return [given.get(name, default) for name, default in self.values]


_KEPT: Final[dict[tuple[Executable, tuple[str, ...]], Compiled]] = {}
"""By statement and the names of its values; both are few, since statements are built once."""


def compiled(statement: Executable, given: Mapping[str, Any]) -> Compiled:
    key = (statement, tuple(given))
    known = _KEPT.get(key)
    if known is None:
        known = _KEPT[key] = Compiled.of(statement, tuple(given))
    return known
