"""Stripe's errors: a status, a type, and the parameter at fault.

Source: https://docs.stripe.com/api/errors, read 2026-11-22.
"""

from http import HTTPStatus
from typing import Any


class StripeProblem(Exception):
    """A refusal in Stripe's own form.

    Attributes:
        is_remembered: whether the refusal is kept under the idempotency key: Stripe keeps what
            began to be carried out, not what failed the check of its parameters.
    """

    def __init__(
        self,
        message: str,
        *,
        status: HTTPStatus = HTTPStatus.BAD_REQUEST,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        self.message = message
        self.status = status
        self.kind = kind
        self.code = code
        self.param = param
        super().__init__(message)

    @property
    def is_remembered(self) -> bool:
        return self.param is None and self.kind != "idempotency_error"

    def body(self) -> dict[str, Any]:
        error: dict[str, Any] = {"message": self.message, "type": self.kind}
        if self.code is not None:
            error["code"] = self.code
            error["doc_url"] = f"https://stripe.com/docs/error-codes/{self.code.replace('_', '-')}"
        if self.param is not None:
            error["param"] = self.param
        return {"error": error}


def missing(param: str) -> StripeProblem:
    return StripeProblem(f"Missing required param: {param}.", code="parameter_missing", param=param)


def unknown_object(kind: str, key: str, param: str) -> StripeProblem:
    return StripeProblem(
        f"No such {kind}: '{key}'",
        status=HTTPStatus.NOT_FOUND,
        code="resource_missing",
        param=param,
    )
