"""The simulated Stripe as an ASGI application: its API, its hosted pages, and its errands."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

import httpx
from litestar import Litestar, MediaType, Request, Response, get, post, route
from litestar.datastructures import State
from litestar.enums import HttpMethod
from litestar.params import FromPath

from gpucloud_adapters.simulated.stripe import api
from gpucloud_adapters.simulated.stripe.account import Account
from gpucloud_adapters.simulated.stripe.api import Api
from gpucloud_adapters.simulated.stripe.deliveries import Errands
from gpucloud_adapters.simulated.stripe.faults import Faults
from gpucloud_adapters.simulated.stripe.pages import STYLE_SHEET, Page, Pages, Redirect
from gpucloud_adapters.simulated.stripe.resources import API_VERSION
from gpucloud_adapters.simulated.stripe.store import Store
from gpucloud_core.kernel.time import EPOCH, Clock

_BODY_MAX: Final = 1 << 20
_DELIVERY_SECONDS: Final = 10.0

Html = Response[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What one simulated account is made of.

    Attributes:
        home: a private folder for its state.
        base_url: where people reach its pages.
        webhook_url: where its events are sent.
    """

    home: Path
    base_url: str
    secret_key: str = field(repr=False)
    webhook_url: str
    webhook_secret: str = field(repr=False)
    settle_seconds: float = 5.0
    faults: Faults = field(default_factory=Faults)


def create_app(options: Options, clock: Clock) -> Litestar:
    """Return the application; its state is opened when it starts."""

    def unix_seconds() -> float:
        return (clock.now() - EPOCH).total_seconds()

    @asynccontextmanager
    async def opened(app: Litestar) -> AsyncIterator[None]:
        async with _opened(options, unix_seconds, app.state):
            yield

    return Litestar(
        route_handlers=[healthz, style_sheet, call, pay, submit, approve, answer, portal, receipt],
        lifespan=[opened],
        openapi_config=None,
        request_max_body_size=_BODY_MAX,
    )


@asynccontextmanager
async def _opened(options: Options, now: Callable[[], float], state: State) -> AsyncIterator[None]:
    options.home.mkdir(parents=True, exist_ok=True)
    store, woken = Store(options.home / "stripe.sqlite"), asyncio.Event()
    account = Account(
        store=store,
        now=now,
        base_url=options.base_url,
        settle_seconds=options.settle_seconds,
        search_lag_seconds=options.faults.search_lag_seconds,
        delivery_delay=options.faults.delay,
        wake=woken.set,
    )
    state.api = Api(account=account, secret_key=options.secret_key)
    state.pages = Pages(account=account)
    state.faults = options.faults
    tls = _tls(options.webhook_url)
    async with httpx.AsyncClient(timeout=_DELIVERY_SECONDS, verify=tls, trust_env=False) as client:
        errands = Errands(
            account=account,
            webhook_url=options.webhook_url,
            webhook_secret=options.webhook_secret,
            client=client,
            woken=woken,
            faults=options.faults,
        )
        running = asyncio.create_task(errands.run(), name="errands")
        try:
            yield
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            store.close()


def _tls(url: str) -> ssl.SSLContext:
    """Return whom to trust: the usual authorities, which take a while to load, or nobody."""
    is_plain = url.startswith("http://")
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if is_plain else ssl.create_default_context()


@get("/healthz", sync_to_thread=False, media_type=MediaType.TEXT)
def healthz() -> str:
    return "ok"


@get("/pay.css", sync_to_thread=False, media_type=MediaType.CSS)
def style_sheet() -> str:
    return STYLE_SHEET


@route("/v1/{path:path}", http_method=[HttpMethod.GET, HttpMethod.POST, HttpMethod.DELETE])
async def call(request: Request[Any, Any, State], state: State, path: FromPath[str]) -> Html:
    """Answer one call of the API."""
    is_get = request.method == HttpMethod.GET
    form = request.url.query if is_get else (await request.body()).decode(errors="replace")
    reply = state.api.answer(
        api.Request(
            method=request.method,
            path=path.strip("/"),
            form=form,
            headers={name.lower(): value for name, value in request.headers.items()},
        )
    )
    if state.faults.loses_answer():
        return Response("", status_code=503, media_type=MediaType.TEXT)
    return Response(
        reply.body,
        status_code=reply.status,
        media_type=MediaType.JSON,
        headers={**reply.headers, "stripe-version": API_VERSION},
    )


@get("/pay/{key:str}", sync_to_thread=False)
def pay(state: State, key: FromPath[str]) -> Html:
    return _shown(state.pages.pay(key))


@post("/pay/{key:str}", status_code=200)
async def submit(request: Request[Any, Any, State], state: State, key: FromPath[str]) -> Html:
    return _shown(state.pages.submit(key, await _form(request)))


@get("/pay/{key:str}/approve", sync_to_thread=False)
def approve(state: State, key: FromPath[str]) -> Html:
    return _shown(state.pages.approve(key))


@post("/pay/{key:str}/approve", status_code=200)
async def answer(request: Request[Any, Any, State], state: State, key: FromPath[str]) -> Html:
    return _shown(state.pages.answer(key, await _form(request)))


@get("/portal/{key:str}", sync_to_thread=False)
def portal(state: State, key: FromPath[str]) -> Html:
    return _shown(state.pages.portal(key))


@get("/receipts/{key:str}", sync_to_thread=False)
def receipt(state: State, key: FromPath[str]) -> Html:
    return _shown(state.pages.receipt(key))


async def _form(request: Request[Any, Any, State]) -> Mapping[str, str]:
    body = (await request.body()).decode(errors="replace")
    return dict(parse_qsl(body, keep_blank_values=True, max_num_fields=50))


def _shown(outcome: Page | Redirect) -> Html:
    match outcome:
        case Redirect(location):
            return Response(
                "", status_code=303, headers={"location": location}, media_type=MediaType.TEXT
            )
        case Page():
            return Response(
                outcome.html,
                status_code=outcome.status,
                media_type=MediaType.HTML,
                headers={
                    "cache-control": "no-store",
                    "content-security-policy": outcome.policy,
                    "referrer-policy": "no-referrer",
                    "x-content-type-options": "nosniff",
                },
            )
