"""Rows of dataclasses to rows of tables and back, by the names of their fields.

A field of a plain type is a column of its own; whatever has parts is one ``jsonb`` column, read
back into exactly the same values by the field's annotation. Which columns a table really has is
the migrations' business; a test compares.
"""

import dataclasses
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast, get_args, get_origin

from sqlalchemy import BigInteger, Boolean, Column, DateTime, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from gpucloud_adapters.stored.fields import Field, fields_of, plain_hint, without_none
from gpucloud_adapters.stored.kinds import Kind

T = TypeVar("T")
Decode: TypeAlias = Callable[[Any], Any]

_COLUMN_TYPES: Final[Mapping[type, type[TypeEngine[Any]]]] = {
    str: Text,
    int: BigInteger,
    bool: Boolean,
}


class RowMapping(Generic[T]):
    """How one kind of row lies in its table."""

    def __init__(self, kind: Kind[T]) -> None:
        self.kind = kind
        self.table = Table(
            kind.table,
            MetaData(),
            *(Column(field.name, column_type(field)) for field in kind.fields.values()),
        )
        self._names = tuple(kind.fields)
        self._decoders = tuple(
            (name, decode)
            for name, field in kind.fields.items()
            if (decode := decoder(field.hint, optional=field.optional)) is not None
        )

    def decoder_of(self, field: str) -> Decode:
        """Return what turns the column's value into the field's."""
        return dict(self._decoders).get(field) or _as_it_is

    def encode(self, row: T) -> dict[str, Any]:
        """Return the values of the columns by name. JSON is written by the engine."""
        return {name: getattr(row, name) for name in self._names}

    def decode(self, values: Sequence[Any]) -> T:
        """Return the row that these columns hold, given in the order of the fields."""
        facts = dict(zip(self._names, values, strict=True))
        for name, decode in self._decoders:
            facts[name] = decode(facts[name])
        return self.kind.row(**facts)


def row_of_json(kind: Kind[T]) -> Callable[[dict[str, Any]], T]:
    """Return what turns a row that the database gives as one JSON object into the row."""
    return _dataclass_decoder(cast("type[Any]", kind.row))


def column_type(field: Field) -> TypeEngine[Any]:
    """Return the type of the column that holds ``field``."""
    scalar = field.scalar
    if scalar is None:
        return JSONB(none_as_null=True)
    if scalar is datetime:
        return DateTime(timezone=True)
    return _COLUMN_TYPES[str if issubclass(scalar, StrEnum) else scalar]()


def decoder(hint: Any, *, optional: bool = False) -> Decode | None:
    """Return what turns a value, as JSON or the driver gives it, into ``hint``; None if nothing.

    A plain instant comes from the driver as one; inside JSON it comes as text.
    """
    if optional:
        inner = decoder(hint)
        return inner and (lambda value: None if value is None else inner(value))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return cast("dict[Any, Any]", hint._value2member_map_).__getitem__
    if dataclasses.is_dataclass(hint):
        return _dataclass_decoder(cast("type[Any]", hint))
    origin = get_origin(hint)
    if origin is tuple:
        return _tuple_decoder(get_args(hint))
    if origin is not None and issubclass(origin, Mapping):
        return _mapping_decoder(*get_args(hint))
    return None


def _inside_json(hint: Any) -> Decode | None:
    hint, optional = without_none(hint)
    hint = plain_hint(hint)
    if hint is datetime:
        if optional:
            return lambda text: None if text is None else datetime.fromisoformat(text)
        return datetime.fromisoformat
    return decoder(hint, optional=optional)


def _dataclass_decoder(row: type[Any]) -> Decode:
    hints = typing.get_type_hints(row)
    decoders = {name: _inside_json(hints[name]) for name in fields_of(row)}
    changing = tuple((name, decode) for name, decode in decoders.items() if decode is not None)

    def decode_dataclass(value: dict[str, Any]) -> Any:
        # Only what is there: rows written before a field existed take the field's default.
        facts = {name: value[name] for name in decoders if name in value}
        for name, decode in changing:
            if name in facts:
                facts[name] = decode(facts[name])
        return row(**facts)

    return decode_dataclass


def _tuple_decoder(hints: tuple[Any, ...]) -> Decode:
    if len(hints) == 2 and hints[1] is Ellipsis:  # noqa: PLR2004  tuple[X, ...]
        every = _inside_json(hints[0])
        return tuple if every is None else lambda value: tuple(map(every, value))
    parts = [_inside_json(hint) for hint in hints]
    return lambda value: tuple(
        part if decode is None else decode(part) for part, decode in zip(value, parts, strict=True)
    )


def _mapping_decoder(key_hint: Any, value_hint: Any) -> Decode | None:
    decode_key, decode_value = _inside_json(key_hint), _inside_json(value_hint)
    if decode_key is None and decode_value is None:
        return None
    key, one = decode_key or _as_it_is, decode_value or _as_it_is
    return lambda value: {key(name): one(part) for name, part in value.items()}


def _as_it_is(value: Any) -> Any:
    return value
