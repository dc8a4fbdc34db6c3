"""The Litestar application, from settings; nothing else is global."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from dishka import AsyncContainer
from dishka.integrations.litestar import DishkaRouter, setup_dishka
from litestar import Litestar, Router
from litestar.config.compression import CompressionConfig
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.static_files import create_static_files_router
from litestar.types import ASGIApp, ControllerRouterHandler

from gpucloud_adapters.bootstrap import make_container
from gpucloud_adapters.logs import configure_logs
from gpucloud_adapters.settings import Settings
from gpucloud_web.api import (
    allocations,
    audit,
    auth,
    billing,
    catalog,
    email,
    exports,
    images,
    keys,
    metrics,
    node_verbs,
    nodes,
    notices,
    operate,
    overview,
    payments,
    plans,
    schema,
    skus,
    streams,
    tasks,
    terminal,
    timers,
    views,
    waitlist,
)
from gpucloud_web.caller import provide_actor, provide_idempotency, provide_project
from gpucloud_web.edge import Edge
from gpucloud_web.health import healthz, readyz
from gpucloud_web.once_per_key import OncePerKey
from gpucloud_web.pages import PAGES
from gpucloud_web.pages.rendered import Site
from gpucloud_web.problems import HANDLERS
from gpucloud_web.rendering import Assets, Renderer
from gpucloud_web.terminals.registry import Terminals
from gpucloud_web.terminals.socket import terminal_socket

HERE: Final = Path(__file__).parent
BODY_BYTES_MAX: Final = 1024 * 1024
API: Final[Sequence[ControllerRouterHandler]] = (
    auth.Auth,
    auth.Mine,
    auth.list_projects,
    keys.SshKeys,
    catalog.list_catalog,
    catalog.list_os_images,
    allocations.Allocations,
    exports.export_allocations,
    metrics.allocation_metrics,
    operate.AllocationKeys,
    operate.restart_allocation,
    timers.set_timer,
    operate.AdminAllocations,
    skus.AdminSkus,
    images.AdminImages,
    audit.AuditLogs,
    plans.AdminPlans,
    overview.get_overview,
    overview.list_any_allocations,
    nodes.AdminNodes,
    *node_verbs.NODE_VERBS,
    terminal.mint_terminal_token,
    tasks.Tasks,
    waitlist.WaitlistEntries,
    views.Views,
    email.MyEmail,
    notices.Inbox,
    notices.Attention,
    billing.Billing,
    payments.Payments,
    schema.openapi_document,
    streams.asyncapi_document,
)


def build(settings: Settings, container: AsyncContainer) -> Litestar:
    """Return the application over ``container``."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        yield
        await app.state.terminals.close()
        await container.close()

    app = Litestar(
        route_handlers=[
            DishkaRouter("/api/v1", route_handlers=API, middleware=[OncePerKey]),
            DishkaRouter("/", route_handlers=[*PAGES, healthz, readyz]),
            Router("/", route_handlers=[terminal_socket]),
            create_static_files_router(
                path="/static",
                directories=[HERE / "static"],
                include_in_schema=False,
                cache_control=None,
            ),
        ],
        dependencies={
            "actor": Provide(provide_actor),
            "project": Provide(provide_project),
            "idempotency": Provide(provide_idempotency),
        },
        exception_handlers=HANDLERS,
        lifespan=[lifespan],
        request_max_body_size=BODY_BYTES_MAX,
        compression_config=CompressionConfig(
            backend="gzip", minimum_size=1024, gzip_compress_level=5
        ),
        openapi_config=OpenAPIConfig(
            title="gpucloud",
            version="1",
            description="Find GPUs, launch them, get a shell, pay by the second, give them back.",
            path="/api/v1/schema",
            components=Components(
                security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer")}
            ),
            security=[{"bearer": []}],
            render_plugins=(),
        ),
    )
    app.state.public_url = settings.public_url
    app.state.terminals = Terminals()
    app.state.site = Site(
        renderer=Renderer.of(Assets.read(), form_targets=form_targets(settings)),
        simulated=settings.simulated,
        public_url=settings.public_url,
    )
    setup_dishka(container, app)
    app.asgi_handler = _edge(app.asgi_handler, settings.public_url)
    return app


def _edge(inner: ASGIApp, public_url: str) -> ASGIApp:
    return Edge(inner, public_url)


def form_targets(settings: Settings) -> tuple[str, ...]:
    """Return the origins a form of ours may be redirected to: the provider's pay page."""
    if settings.stripe_api_base is None:
        return ("https://checkout.stripe.com", "https://billing.stripe.com")
    return (settings.stripe_api_base,)


def create_app() -> Litestar:
    """Return the application from the environment; what the web server calls."""
    settings = Settings.of(os.environ)
    configure_logs()
    return build(settings, make_container(settings))
