"""Checks requests against the parameter types that Stripe publishes in its own library.

The types are generated from Stripe's specification, so a parameter we misspell is refused here as
it would be there. They name things that their modules import only for type checkers; those names
are put back before the types are read.
"""

import sys
import typing
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from types import UnionType
from typing import Any, Final, Literal, TypeAlias, Union

from stripe import _request_options, _stripe_object
from stripe._stripe_context import StripeContext
from typing_extensions import is_typeddict

from gpucloud_adapters.simulated.stripe.forms import Form, Value
from gpucloud_adapters.simulated.stripe.problems import StripeProblem, missing

Params: TypeAlias = dict[str, Any]

_BORROWED: Final = {
    **vars(typing),
    "Mapping": Mapping,
    "StripeContext": StripeContext,
    "UntypedStripeObject": _stripe_object.UntypedStripeObject,
}
_NOT_SENT: Final = frozenset(_request_options.RequestOptions.__annotations__)
"""What the library takes beside the parameters, and sends as headers."""


@lru_cache
def parameters(kind: type) -> tuple[Mapping[str, Any], frozenset[str]]:
    """Return the parameters of a published type with their types, and those that are required."""
    names = {**_BORROWED, **vars(sys.modules[kind.__module__])}
    hints = typing.get_type_hints(kind, names)
    sent = {name: hint for name, hint in hints.items() if name not in _NOT_SENT}
    required: frozenset[str] = getattr(kind, "__required_keys__", frozenset())
    return sent, required & set(sent)


def checked(form: Form, kind: type, within: str = "") -> Params:
    """Return the form's values, typed as Stripe says.

    Args:
        form: as decoded.
        kind: one of the TypedDicts of ``stripe.params``.
        within: the parameter that holds these, for messages.

    Raises:
        StripeProblem: an unknown parameter, a missing one, or a value of another type.
    """
    known, required = parameters(kind)
    for name in form:
        if name not in known:
            path = _path(within, name)
            raise StripeProblem(
                f"Received unknown parameter: {path}", code="parameter_unknown", param=path
            )
    for name in sorted(required - set(form)):
        raise missing(_path(within, name))
    return {name: _value(form[name], known[name], _path(within, name)) for name in form}


def _value(value: Value, hint: Any, path: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {Union, UnionType}:
        return _one_of(value, arguments, path)
    if origin is Literal:
        if value not in arguments:
            listed = ", ".join(str(argument) for argument in arguments)
            raise StripeProblem(f"Invalid {path}: must be one of {listed}", param=path)
        return value
    if origin is list:
        return _list(value, arguments[0], path)
    if is_typeddict(hint):
        return checked(_object(value, path), hint, path)
    if origin is dict or origin is _stripe_object.UntypedStripeObject:
        return {
            name: _value(inner, arguments[-1], _path(path, name))
            for name, inner in _object(value, path).items()
        }
    return _scalar(value, hint, path)


def _one_of(value: Value, kinds: tuple[Any, ...], path: str) -> Any:
    """Return the value as the first kind it fits.

    ``Literal[...] | str`` stands for a list that may grow; here it holds what there is today.
    """
    if any(typing.get_origin(kind) is Literal for kind in kinds):
        kinds = tuple(kind for kind in kinds if kind is not str)
    problem: StripeProblem | None = None
    for kind in kinds:
        try:
            return _value(value, kind, path)
        except StripeProblem as refused:
            # What is wrong inside an object says more than that it is no other kind of value.
            if problem is None or (refused.param or "") > (problem.param or ""):
                problem = refused
    raise problem or StripeProblem(f"Invalid {path}", param=path)


def _list(value: Value, kind: Any, path: str) -> list[Any]:
    items = _object(value, path)
    if not all(name.isdecimal() for name in items):
        raise StripeProblem(f"Invalid array: {path}", param=path)
    ordered = sorted(items, key=int)
    return [_value(items[name], kind, _path(path, name)) for name in ordered]


def _object(value: Value, path: str) -> Form:
    if isinstance(value, str):
        raise StripeProblem(f"Invalid object: {path}", param=path)
    return value


def _scalar(value: Value, kind: Any, path: str) -> Any:
    if not isinstance(value, str):
        raise StripeProblem(f"Invalid string: {path}", param=path)
    if kind is bool:
        if value not in {"true", "false"}:
            raise StripeProblem(f"Invalid boolean: {value}", param=path)
        return value == "true"
    if kind in {int, float, Decimal}:
        try:
            return kind(value)
        except (ValueError, InvalidOperation):
            noun = "integer" if kind is int else "decimal"
            raise StripeProblem(
                f"Invalid {noun}: {value}", code=f"parameter_invalid_{noun}", param=path
            ) from None
    return value


def _path(within: str, name: str) -> str:
    return f"{within}[{name}]" if within else name
