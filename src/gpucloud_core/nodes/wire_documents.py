"""Documents of the wire: one JSON object each, checked when written and when read.

An ``Exchange`` is one verb: what is asked, what is answered, and both directions. Whatever is
wrong comes out as ``NodeRefused`` with its name, never as a crash.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from typing import Final, Generic, NoReturn, TypeVar

from gpucloud_core.kernel.time import rfc3339
from gpucloud_core.kernel.unit import Json
from gpucloud_core.nodes import wire_values as check
from gpucloud_core.nodes.ports import NodeRefused
from gpucloud_core.nodes.wire_values import Check, Wrong

PROGRAM: Final = "gpucloud-node"
DOCUMENT_BYTES_MAX: Final = 256 * 1024

Q = TypeVar("Q")
A = TypeVar("A")
T = TypeVar("T")


@dataclass(frozen=True)
class Document(Generic[T]):
    """One JSON object: the dataclass it becomes, and the check of each field."""

    name: str
    kind: type[T]
    checks: Mapping[str, Check]
    also: Callable[[T], str | None] = lambda _: None  # what the fields must be to each other
    added: Mapping[str, Json] = field(default_factory=dict)
    """Fields that older programs lack, with what they mean by that; left out where they say so."""

    def __post_init__(self) -> None:
        names = {each.name for each in fields(self.kind)}  # type: ignore[arg-type]  # all are dataclasses
        if names != set(self.checks):
            raise ValueError(f"{self.name}: checks and fields differ")

    def parse(self, document: object, *, exact: bool) -> T:
        """Return the checked value.

        Raises:
            NodeRefused: what is wrong, by name.
        """
        try:
            if isinstance(document, dict):
                document = {**self.added, **document}
            value = self.kind(**check.fields(self.checks, document, exact=exact))
        except Wrong as error:
            raise NodeRefused(f"{self.name}: {error}.") from error
        if wrong := self.also(value):
            raise NodeRefused(f"{self.name}: {wrong}.")
        return value

    def plain(self, value: T) -> dict[str, Json]:
        """Return the JSON object of ``value``, checked as its reader will check it."""
        document = {name: _plain(getattr(value, name)) for name in self.checks}
        self.parse(document, exact=True)
        return {
            name: value
            for name, value in document.items()
            if name not in self.added or value != self.added[name]
        }


@dataclass(frozen=True)
class Exchange(Generic[Q, A]):
    """One verb: what is asked, what is answered, and how long it may take."""

    verb: str
    asks: Document[Q]
    answers: Document[A]
    seconds_max: float

    @property
    def argv(self) -> tuple[str, ...]:
        return PROGRAM, self.verb

    def request(self, value: Q) -> bytes:
        """Write the document for the node's stdin."""
        return _dump(self.asks.plain(value))

    def read_request(self, raw: bytes) -> Q:
        """Read it, on the node's side."""
        return self.asks.parse(_load(raw, self.asks.name), exact=True)

    def answer(self, value: A) -> bytes:
        """Write the document for the node's stdout."""
        return _dump({"ok": True, **self.answers.plain(value)})

    def read_answer(self, raw: bytes) -> A:
        """Read the node's answer.

        Raises:
            NodeRefused: the node said no, or its answer is not one.
        """
        document = _load(raw, self.answers.name)
        if not isinstance(document, dict) or not isinstance(document.get("ok"), bool):
            raise NodeRefused(f"{self.answers.name}: it does not say whether it is ok.")
        if document["ok"]:
            return self.answers.parse(document, exact=False)
        raise NodeRefused(_refusal_words(document))


def refusal(error: str, detail: str) -> bytes:
    """Write the answer that says no: a snake_case code and one sentence."""
    known = error if _is_code(error) else "internal"
    return _dump({"ok": False, "error": known, "detail": check.escaped(detail)})


def _is_code(value: object) -> bool:
    try:
        return bool(check.error_code(value))
    except Wrong:
        return False


def _refusal_words(document: Mapping[str, object]) -> str:
    code, detail = document.get("error"), document.get("detail")
    said = check.escaped(detail) if isinstance(detail, str) and detail else "It gave no reason."
    return f"{said} ({code})" if _is_code(code) else said


def _plain(value: object) -> Json:
    match value:
        case None | bool() | int() | str():
            return value
        case datetime():
            return rfc3339(value)
        case tuple() | list():
            return [_plain(item) for item in value]
        case _ if is_dataclass(value):
            return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
        case _:
            raise NodeRefused(f"a {type(value).__name__} cannot be sent to a node.")


def _dump(document: dict[str, Json]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _load(raw: bytes, name: str) -> object:
    if len(raw) > DOCUMENT_BYTES_MAX:
        raise NodeRefused(f"{name}: it is longer than {DOCUMENT_BYTES_MAX} bytes.")
    try:
        loaded: object = json.loads(
            raw.decode(),
            object_pairs_hook=_once,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
    except (ValueError, RecursionError) as error:
        raise NodeRefused(f"{name}: it is not the JSON document expected.") from error
    return loaded


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise Wrong("names a field twice")
    return document


def _no_number(text: str) -> NoReturn:
    raise Wrong(f"{text[:20]} is not a whole number")
