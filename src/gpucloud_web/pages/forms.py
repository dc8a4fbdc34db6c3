"""Posted forms: done once under their key; a refusal is shown where it was asked."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from litestar import Response
from litestar.response import Redirect

from gpucloud_core.kernel.errors import DomainError, ErrorKind, FieldError
from gpucloud_web.components import FieldFault
from gpucloud_web.pages.rendered import see_other
from gpucloud_web.pages.visit import Form, Visit, one

_STATUS: Final = {
    ErrorKind.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    ErrorKind.FORBIDDEN: HTTPStatus.FORBIDDEN,
    ErrorKind.RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorKind.CONFLICT: HTTPStatus.CONFLICT,
}


def status_of(error: DomainError) -> int:
    """Return what a refused form answers with."""
    return _STATUS.get(error.kind, HTTPStatus.UNPROCESSABLE_ENTITY)


def form_faults(error: DomainError) -> tuple[FieldFault, ...]:
    """Return what to say at which field of a form whose inputs are named like the API's fields."""
    faults = tuple(
        FieldFault(field=fault.field.strip("/").partition("/")[0], text=fault.detail)
        for fault in error.fields
    )
    return faults or (FieldFault(field="", text=f"{error.detail} {error.next_step}".strip()),)


def whole_number(form: Form, name: str, faults: list[FieldError], called: str) -> int:
    """Return the whole number in a field, below a billion; 1 and a fault where it is none."""
    text = one(form, name).strip()
    if text.isascii() and text.isdigit() and len(text) < 10:  # noqa: PLR2004  a billion
        return int(text)
    faults.append(FieldError(f"/{name}", "not_a_number", f"Give {called} as a whole number."))
    return 1


def said(error: DomainError) -> str:
    """Return a refusal in one sentence, for a form that has no field to say it at."""
    return error.fields[0].detail if error.fields else error.detail


def refused(visit: Visit, template: str, view: object, error: DomainError) -> Response[str]:
    """Return a form drawn again, with the refusal in its view."""
    return visit.page(template, view, status=status_of(error))


async def submitted(
    visit: Visit,
    form: Form,
    effect: Callable[[], Awaitable[str]],
    *,
    to: Callable[[str], str],
    again: Callable[[DomainError], Awaitable[Response[str]]],
) -> Response[str] | Redirect:
    """Do ``effect`` once under the form's key, and lead on; refused, draw the form again.

    ``to`` makes the address to go on to from what ``effect`` returned when it was first done;
    ``again`` draws the form with what was typed and the refusal.
    """
    try:
        done = await visit.once(one(form, "idempotency_key"), effect)
    except DomainError as error:
        return await again(error)
    return see_other(to(done))
