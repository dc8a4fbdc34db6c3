"""What the fields of a row are, read once from the dataclass's own annotations."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Final, TypeAlias, Union, get_args, get_origin, get_type_hints

Scalar: TypeAlias = str | int | bool | datetime
PLAIN: Final = (str, int, bool, datetime)
_KNOWN: Final[dict[type[Any], Mapping[str, "Field"]]] = {}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a row.

    Attributes:
        hint: the annotation, resolved, without ``None`` and without ``NewType``.
        optional: whether it may be ``None``.
        scalar: the plain type it is (enumerations keep theirs); ``None`` if it has parts.
    """

    name: str
    hint: Any
    optional: bool
    scalar: type[Scalar] | None


def fields_of(row: type[Any]) -> Mapping[str, Field]:
    """Return the fields of the dataclass ``row`` by name, in their order."""
    if row not in _KNOWN:
        hints = get_type_hints(row)
        _KNOWN[row] = MappingProxyType(
            {field.name: _field(field.name, hints[field.name]) for field in dataclasses.fields(row)}
        )
    return _KNOWN[row]


def plain_hint(hint: Any) -> Any:
    """Return what a ``NewType`` stands for; anything else as it is."""
    while hasattr(hint, "__supertype__"):
        hint = hint.__supertype__
    return hint


def without_none(hint: Any) -> tuple[Any, bool]:
    """Return ``X`` and True for ``X | None``; any other hint as it is, and False."""
    if get_origin(hint) not in {Union, UnionType}:
        return hint, False
    members = get_args(hint)
    rest = [member for member in members if member is not NoneType]
    if len(rest) != 1 or len(rest) == len(members):
        return hint, False
    return rest[0], True


def _field(name: str, hint: Any) -> Field:
    hint, optional = without_none(hint)
    hint = plain_hint(hint)
    is_scalar = isinstance(hint, type) and (hint in PLAIN or issubclass(hint, StrEnum))
    return Field(name, hint, optional, hint if is_scalar else None)
