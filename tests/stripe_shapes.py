"""Compares answers with the resources that Stripe's own library declares: names and types."""

import sys
import typing
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union

import stripe
from stripe import ListObject, SearchResultObject, StripeObject

RESOURCES: Mapping[str, type[StripeObject]] = {
    "billing_portal.session": stripe.billing_portal.Session,
    "charge": stripe.Charge,
    "checkout.session": stripe.checkout.Session,
    "customer": stripe.Customer,
    "event": stripe.Event,
    "payment_intent": stripe.PaymentIntent,
    "refund": stripe.Refund,
}


class _Names(dict[str, Any]):
    """Names that the library imports only for type checkers."""

    def __missing__(self, name: str) -> Any:
        found = getattr(typing, name, None) or getattr(stripe, name, None)
        if found is None:
            raise KeyError(name)
        return found


def declared(kind: type[StripeObject]) -> Mapping[str, Any]:
    """Return the fields of a resource with their types."""
    names = _Names(vars(sys.modules[kind.__module__]))
    hints: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if not issubclass(base, StripeObject) or base.__module__.startswith("stripe._stripe_o"):
            continue
        for name, hint in vars(base).get("__annotations__", {}).items():
            if not name.startswith("_") and name != "OBJECT_NAME":
                hints[name] = _resolved(hint, names)
    return hints


def misfits(resource: Mapping[str, Any]) -> list[str]:
    """Return what Stripe's library would not expect of ``resource``, as sentences."""
    return list(_object(resource, RESOURCES[resource["object"]], resource["object"]))


def _resolved(hint: Any, names: _Names) -> Any:
    """Return a type with its forward references followed, as far as the library's names go."""

    class Holder:
        __annotations__ = {"hint": hint}

    try:
        return typing.get_type_hints(Holder, {}, names)["hint"]
    except NameError:  # an alias that exists for type checkers alone
        return Any


def _object(value: Any, kind: type[StripeObject], path: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{path} is no object"
        return
    fields = declared(kind)
    for name in value:
        if name not in fields:
            yield f"{path}.{name} is not declared"
    for name, hint in fields.items():
        if name in value:
            yield from _value(value[name], hint, f"{path}.{name}")
        elif not _may_be_none(hint):
            yield f"{path}.{name} is missing"


def _value(value: Any, hint: Any, path: str) -> Iterator[str]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {Union, UnionType}:
        if any(typing.get_origin(kind) is Literal for kind in arguments):
            # A list that Stripe may let grow; what we answer is on it today.
            arguments = tuple(kind for kind in arguments if kind is not str)
        problems = [list(_value(value, kind, path)) for kind in arguments]
        if all(problems):
            yield min(problems, key=len)[0]
    elif origin is Literal:
        if value not in arguments:
            yield f"{path} is {value!r}"
    elif origin in {ListObject, SearchResultObject}:
        yield from _items(value.get("data"), arguments[0], f"{path}.data")
    elif origin is list:
        yield from _items(value, arguments[0], path)
    elif isinstance(hint, type) and issubclass(hint, StripeObject):
        yield from _object(value, hint, path)
    else:
        yield from _plain(value, origin or hint, path)


def _plain(value: Any, kind: Any, path: str) -> Iterator[str]:
    if kind in {str, int, bool, float, NoneType} and type(value) is not kind:
        yield f"{path} is {value!r}, not {kind.__name__}"
    is_open = isinstance(kind, type) and issubclass(kind, dict | StripeObject)
    if is_open and not isinstance(value, Mapping):
        yield f"{path} is no object"


def _items(value: Any, hint: Any, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{path} is no list"
        return
    for number, item in enumerate(value):
        yield from _value(item, hint, f"{path}[{number}]")


def _may_be_none(hint: Any) -> bool:
    return hint is Any or NoneType in typing.get_args(hint)
