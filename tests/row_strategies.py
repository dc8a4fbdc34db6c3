"""Any row of any kind, made from its own annotations."""

import dataclasses
import typing
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, get_args, get_origin

from hypothesis import strategies as st

from gpucloud_adapters.stored.fields import fields_of, plain_hint, without_none

INT64: Final = st.integers(-(2**63), 2**63 - 1)
TEXT: Final = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
JSON: Final = st.recursive(
    st.none() | st.booleans() | INT64 | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
_PLAIN: Final[Mapping[Any, st.SearchStrategy[Any]]] = {
    str: TEXT,
    int: INT64,
    bool: st.booleans(),
    datetime: st.datetimes(timezones=st.just(UTC)),
}


def any_of(hint: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for every value of an annotation."""
    hint, optional = without_none(hint)
    if optional:
        return st.none() | any_of(hint)
    hint = plain_hint(hint)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return st.sampled_from(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return st.builds(hint, **{name: any_of(hints[name]) for name in fields_of(hint)})
    return _with_parts(get_origin(hint), get_args(hint))


def _with_parts(origin: Any, parts: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if origin is tuple and parts[1:] == (...,):
        return st.lists(any_of(parts[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(any_of, parts))
    if origin is Mapping:
        return st.dictionaries(any_of(parts[0]), any_of(parts[1]), max_size=2)
    return JSON
