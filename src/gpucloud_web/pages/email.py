"""One's mail address: asking for a link to it, and opening the link.

Opening asks before it acts: programs that look at links in mails must not spend them.
"""

from dataclasses import dataclass

from dishka.integrations.litestar import FromDishka
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.response import Redirect

from gpucloud_core.access.model import User
from gpucloud_core.kernel.errors import DomainError
from gpucloud_core.notices.email_address import AskForEmail, ConfirmEmail
from gpucloud_web.components import FieldFault
from gpucloud_web.pages.access_rows import email_words
from gpucloud_web.pages.forms import form_faults, refused
from gpucloud_web.pages.rendered import see_other
from gpucloud_web.pages.visit import Visit, form_of, one, provide_visit

TOKEN_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailPage:
    """All that ``access/email.html`` may know."""

    email: str
    present: str  # which address counts now, in words
    errors: tuple[FieldFault, ...] = ()

    @classmethod
    def of(
        cls, user: User, email: str | None = None, errors: tuple[FieldFault, ...] = ()
    ) -> "EmailPage":
        return cls(
            email=email if email is not None else user.email or "",
            present=email_words(user),
            errors=errors,
        )

    @property
    def faults(self) -> dict[str, str]:
        return {fault.field: fault.text for fault in self.errors}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmEmailPage:
    """All that ``access/email_confirm.html`` may know."""

    token: str
    error: str = ""


class EmailPages(Controller):
    path = "/account/email"
    include_in_schema = False
    dependencies = {"visit": Provide(provide_visit)}

    @get()
    async def form(self, visit: NamedDependency[Visit]) -> Response[str]:
        """Show the form that asks for a link."""
        return visit.page("access/email.html", EmailPage.of(visit.me.user))

    @post(status_code=303)
    async def ask(
        self, visit: NamedDependency[Visit], ask: FromDishka[AskForEmail]
    ) -> Response[str] | Redirect:
        """Send a link to the address."""
        form = await form_of(visit.request)
        email = one(form, "email").strip()
        try:
            await ask(
                actor=visit.actor, email=email, current_password=one(form, "current_password")
            )
        except DomainError as error:
            page = EmailPage.of(visit.me.user, email, form_faults(error))
            return refused(visit, "access/email.html", page, error)
        return see_other("/account?mailed")

    @get("/confirm")
    async def show_link(self, visit: NamedDependency[Visit]) -> Response[str]:
        """Ask whether the address is to be theirs."""
        token = visit.request.query_params.get("token", "")[:TOKEN_MAX]
        return visit.page("access/email_confirm.html", ConfirmEmailPage(token=token))

    @post("/confirm", status_code=303)
    async def confirm(
        self, visit: NamedDependency[Visit], confirm: FromDishka[ConfirmEmail]
    ) -> Response[str] | Redirect:
        """Spend the link."""
        token = one(await form_of(visit.request), "token")[:TOKEN_MAX]
        try:
            await confirm(actor=visit.actor, token=token)
        except DomainError as error:
            page = ConfirmEmailPage(token="", error=f"{error.detail} {error.next_step}")
            return refused(visit, "access/email_confirm.html", page, error)
        return see_other("/account?confirmed")
