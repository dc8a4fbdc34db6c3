"""Anticipated failures, each with a code that never changes.

A domain error names a *kind*; the edge maps kinds to its own protocol once. Subclasses live
beside what raises them and register themselves, so that one registry holds every code and the
reference page is printed from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final


class ErrorKind(StrEnum):
    """What sort of refusal it is, in words that no protocol owns."""

    INVALID = "invalid"  # the request itself is wrong; sending it again will not help
    UNAUTHENTICATED = "unauthenticated"  # we do not know who is asking
    FORBIDDEN = "forbidden"  # we know, and they may not
    NOT_FOUND = "not_found"  # absent, or not theirs to know of
    CONFLICT = "conflict"  # true, but not in the present state
    PAYMENT_REQUIRED = "payment_required"  # the balance does not cover it
    NO_CAPACITY = "no_capacity"  # nothing free fits; not a fault
    RATE_LIMITED = "rate_limited"  # too often; later is fine
    UNAVAILABLE = "unavailable"  # something we depend on does not answer; ask again


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field of a request: a JSON pointer, a code and a sentence."""

    field: str
    code: str
    detail: str


ERRORS: Final[dict[str, "type[DomainError]"]] = {}
"""Every code in the product, filled as the classes are defined."""


class DomainError(Exception):
    """A failure the domain foresaw.

    ``title`` (the first line of the class docstring) says what happened in general; ``detail``
    says it for this case, and what to do. Both are safe to show to the person who asked.
    """

    code: ClassVar[str] = ""
    kind: ClassVar[ErrorKind] = ErrorKind.INVALID
    next_step: ClassVar[str] = ""

    def __init__(
        self,
        detail: str = "",
        *,
        fields: Sequence[FieldError] = (),
        retry_after_seconds: int | None = None,
    ) -> None:
        self.detail = detail or self.title()
        self.fields = tuple(fields)
        self.retry_after_seconds = retry_after_seconds
        super().__init__(self.detail)

    def __init_subclass__(cls) -> None:
        if cls.code:
            known = ERRORS.setdefault(cls.code, cls)
            if known.__qualname__ != cls.__qualname__:
                raise TypeError(f"error code {cls.code!r} is taken by {known.__qualname__}")

    @classmethod
    def title(cls) -> str:
        return (cls.__doc__ or cls.code).strip().splitlines()[0]


class NotFound(DomainError):
    """There is no such object."""

    code = "not_found"
    kind = ErrorKind.NOT_FOUND
    next_step = "Check the id and the project you are in."


class ValidationFailed(DomainError):
    """Some fields need another look."""

    code = "validation_failed"
    kind = ErrorKind.INVALID
    next_step = "Correct the fields named and send it again; nothing was changed."


class AlreadyExists(DomainError):
    """Something with this name or key exists already."""

    code = "already_exists"
    kind = ErrorKind.CONFLICT
    next_step = "Choose another name, or use the one that exists."


class IllegalTransition(DomainError):
    """The object is not in a state that allows this."""

    code = "illegal_transition"
    kind = ErrorKind.CONFLICT
    next_step = "Reload to see its present state."


class Conflict(DomainError):
    """Someone else changed this at the same moment."""

    code = "conflict"
    kind = ErrorKind.CONFLICT
    next_step = "Reload and try again."


class Unavailable(DomainError):
    """Something this depends on does not answer."""

    code = "unavailable"
    kind = ErrorKind.UNAVAILABLE
    next_step = "Try again in a moment; the same Idempotency-Key is safe."
