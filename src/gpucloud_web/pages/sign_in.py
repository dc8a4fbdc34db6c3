"""Sign in, sign up, sign out; the account and where one is signed in."""

from dishka.integrations.litestar import FromDishka
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect

from gpucloud_core.access.model import Actor, SessionKind
from gpucloud_core.access.password import ChangePassword
from gpucloud_core.access.sessions import ListSessions, RevokeSession, SignOut
from gpucloud_core.access.sign_in import SignedIn, SignIn, SignUp
from gpucloud_core.kernel.errors import DomainError
from gpucloud_core.kernel.ids import SessionId, parse_id
from gpucloud_web.caller import client_of
from gpucloud_web.edge import SESSION_COOKIE
from gpucloud_web.pages.access_rows import AccountPage, PasswordPage, SignInPage
from gpucloud_web.pages.forms import form_faults, refused, status_of
from gpucloud_web.pages.rendered import drawn, own_address, see_other
from gpucloud_web.pages.visit import PageRequest, Visit, form_of, one, provide_visit


def _admit(signed_in: SignedIn, address: str) -> Response[None]:
    """Send the browser on with its session's cookie, which scripts cannot read."""
    answer = see_other(own_address(address))
    remaining = signed_in.session.ends_at - signed_in.session.created_at
    answer.set_cookie(
        key=SESSION_COOKIE,
        value=signed_in.tokens.access_token,
        max_age=int(remaining.total_seconds()),
        path="/",
        secure=True,
        httponly=True,
        samesite="lax",
    )
    return answer


class SignInPages(Controller):
    path = "/"
    include_in_schema = False

    @get("/login")
    async def form(self, request: PageRequest) -> Response[str]:
        """Show the sign-in form."""
        query = request.query_params
        page = SignInPage.of(
            tab="work" if query.get("tab") == "work" else "personal",
            next_address=own_address(query.get("next", ""), ""),
            signed_out="out" in query,
        )
        return drawn(request, "access/login.html", page)

    @get("/login/new")
    async def new_form(self, request: PageRequest) -> Response[str]:
        """Show the form that makes an account."""
        address = own_address(request.query_params.get("next", ""), "")
        return drawn(request, "access/login.html", SignInPage.of(making=True, next_address=address))

    @post("/login", status_code=200)
    async def sign_in(
        self, request: PageRequest, sign_in: FromDishka[SignIn]
    ) -> Response[str] | Response[None]:
        """Sign in and go on to where one came from."""
        form = await form_of(request)
        username, address = one(form, "username"), own_address(one(form, "next"), "")
        try:
            signed_in = await sign_in(
                username=username,
                password=one(form, "password"),
                kind=SessionKind.BROWSER,
                client=client_of(request),
            )
        except DomainError as error:
            page = SignInPage.of(username=username, next_address=address, errors=form_faults(error))
            return drawn(request, "access/login.html", page, status=status_of(error))
        return _admit(signed_in, address or "/")

    @post("/login/new", status_code=200)
    async def sign_up(
        self, request: PageRequest, sign_up: FromDishka[SignUp]
    ) -> Response[str] | Response[None]:
        """Make an account and go on, signed in."""
        form = await form_of(request)
        username, email = one(form, "username"), one(form, "email").strip()
        address = own_address(one(form, "next"), "")
        try:
            signed_in = await sign_up(
                username=username,
                password=one(form, "password"),
                email=email or None,
                kind=SessionKind.BROWSER,
                client=client_of(request),
            )
        except DomainError as error:
            page = SignInPage.of(
                making=True,
                username=username,
                email=email,
                next_address=address,
                errors=form_faults(error),
            )
            return drawn(request, "access/login.html", page, status=status_of(error))
        return _admit(signed_in, address or "/")


class AccountPages(Controller):
    path = "/"
    include_in_schema = False
    dependencies = {"visit": Provide(provide_visit)}

    @post("/logout", status_code=303)
    async def sign_out(
        self, actor: NamedDependency[Actor], sign_out: FromDishka[SignOut]
    ) -> Response[None]:
        """End this session and forget its cookie."""
        await sign_out(actor=actor)
        answer = see_other("/login?out")
        answer.set_cookie(
            key=SESSION_COOKIE, value="", max_age=0, path="/", secure=True, httponly=True
        )
        return answer

    @get("/account")
    async def account(
        self, visit: NamedDependency[Visit], list_sessions: FromDishka[ListSessions]
    ) -> Response[str]:
        """Show who one is and where one is signed in."""
        sessions = await list_sessions(actor=visit.actor)
        page = AccountPage.of(
            visit.me,
            visit.actor,
            sessions,
            now=visit.now,
            zone=visit.zone,
            said=visit.request.query_params.keys(),
        )
        return visit.page("access/account.html", page)

    @get("/account/password")
    async def password_form(self, visit: NamedDependency[Visit]) -> Response[str]:
        """Show the form that changes the password."""
        return visit.page("access/password.html", PasswordPage.of())

    @post("/account/password", status_code=200)
    async def change_password(
        self, visit: NamedDependency[Visit], change: FromDishka[ChangePassword]
    ) -> Response[str] | Redirect:
        """Change the password, which ends every other session."""
        form = await form_of(visit.request)
        new = one(form, "new_password")
        try:
            await change(actor=visit.actor, current=one(form, "current_password"), new=new)
        except DomainError as error:
            page = PasswordPage.of(form_faults(error))
            return refused(visit, "access/password.html", page, error)
        return see_other("/account?changed")

    @post("/account/sessions/{session_id:str}/end", status_code=303)
    async def end_session(
        self,
        session_id: FromPath[str],
        actor: NamedDependency[Actor],
        revoke_session: FromDishka[RevokeSession],
    ) -> Redirect:
        """End another session of one's own."""
        await revoke_session(actor=actor, session_id=SessionId(parse_id("ses", session_id)))
        return see_other("/account")
