"""One good call of every write of the API, for the tests that walk all of them.

A write without an example fails those tests: whoever adds one adds its example, in the module of
its concept; every module here is read.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from inspect import signature
from typing import Final, cast, get_args

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from gpucloud_core.allocations.metrics import MetricsSource
from gpucloud_core.billing.ports import PaymentProcessor
from gpucloud_core.nodes.ports import NodeDriver, Shells
from gpucloud_web.edge import SAFE_METHODS
from gpucloud_web.keyed import Once
from write_examples.world import API, Call, Example, World

__all__ = ["API", "EXAMPLES", "Call", "World", "Write", "writes"]


def _every_example() -> Iterator[tuple[str, Example]]:
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        found: Mapping[str, Example] = getattr(importlib.import_module(module.name), "EXAMPLES", {})
        yield from found.items()


EXAMPLES: Final = dict(_every_example())
"""By operation id."""


OUTSIDE: Final = (NodeDriver, Shells, PaymentProcessor, MetricsSource)
"""Ports whose every call leaves the platform."""


def _outside_of(handler: HTTPRouteHandler) -> Iterator[str]:
    """Give the names of the ports to the outside that a handler's use cases hold."""
    written = getattr(handler.fn, "__dishka_orig_func__", handler.fn)  # as it was before injection
    for parameter in signature(written).parameters.values():
        yield from _outside(parameter.annotation)


def _outside(hint: object) -> Iterator[str]:
    for each in (hint, *get_args(hint)):
        if each in OUTSIDE:
            yield cast("type", each).__name__
        elif isinstance(each, type) and is_dataclass(each):
            for field in fields(each):
                yield from _outside(field.type)


@dataclass(frozen=True, slots=True)
class Write:
    """A route that changes something."""

    operation: str
    method: str
    path: str
    once: Once
    names: frozenset[str]  # of what its handler and its dependencies ask for
    outside: frozenset[str]  # ports to the outside that its use cases hold, however deep


def writes(app: Litestar) -> dict[str, Write]:
    """Return every write of the API by its operation id."""
    found = [
        Write(
            operation=str(handler.operation_id),
            method=method,
            path=route.path,
            once=Once.of(handler),
            names=frozenset(handler.parsed_fn_signature.parameters),
            outside=frozenset(_outside_of(handler)),
        )
        for route in app.routes
        if isinstance(route, HTTPRoute) and route.path.startswith(API)
        for handler in route.route_handlers
        if isinstance(handler, HTTPRouteHandler)
        for method in handler.http_methods - SAFE_METHODS
    ]
    return {write.operation: write for write in found}
