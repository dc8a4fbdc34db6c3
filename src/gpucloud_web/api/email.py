"""The caller's mail address: a link is sent to it, and it counts once the link was opened."""

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import Controller, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from gpucloud_core.access.model import Actor
from gpucloud_core.notices.email_address import AskForEmail, ConfirmEmail
from gpucloud_web.keyed import OPT, Once


class AskForEmailBody(msgspec.Struct, forbid_unknown_fields=True):
    """The address that is wanted, and the password of the present account."""

    email: str
    current_password: str


class ConfirmEmailBody(msgspec.Struct, forbid_unknown_fields=True):
    """What stood in the link, behind ``token=``."""

    token: str


class EmailBody(msgspec.Struct):
    email: str


class MyEmail(Controller):
    path = "/me/email"
    tags = ["auth"]

    @post(operation_id="askForEmail", status_code=202, opt={OPT: Once.NEVER})
    async def ask(
        self,
        data: JSONBody[AskForEmailBody],
        actor: NamedDependency[Actor],
        ask: FromDishka[AskForEmail],
    ) -> EmailBody:
        """Send a link to an address; nothing changes before it is opened."""
        await ask(actor=actor, email=data.email, current_password=data.current_password)
        return EmailBody(data.email.strip())

    @post("/confirm", operation_id="confirmEmail", status_code=200, opt={OPT: Once.NEVER})
    async def confirm(
        self,
        data: JSONBody[ConfirmEmailBody],
        actor: NamedDependency[Actor],
        confirm: FromDishka[ConfirmEmail],
    ) -> EmailBody:
        """Spend a link, and let its address be the caller's."""
        user = await confirm(actor=actor, token=data.token)
        return EmailBody(user.email or "")
