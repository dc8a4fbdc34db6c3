"""From a view row to an answer: the frame of a request, the page drawn in it, its headers."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from litestar import Response
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.response import Redirect

from gpucloud_web import formats
from gpucloud_web.edge import correlation_id_of, nonce_of
from gpucloud_web.rendering import Renderer
from gpucloud_web.shell import Frame, Shell

THEME_COOKIE: Final = "gpucloud-theme"
DENSITY_COOKIE: Final = "gpucloud-density"
SHORTCUTS_COOKIE: Final = "gpucloud-keys"
ZONE_COOKIE: Final = "gpucloud-zone"

_Connection = ASGIConnection[Any, Any, Any, State]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What every page of this installation has in common; kept at ``app.state.site``."""

    renderer: Renderer
    simulated: bool
    public_url: str


def site_of(connection: _Connection) -> Site:
    """Return the installation's site."""
    site: Site = connection.app.state.site
    return site


def frame_of(connection: _Connection) -> Frame:
    """Return what a page needs of this request, signed in or not."""
    cookies = connection.cookies
    query = connection.scope["query_string"].decode("latin-1")
    path = connection.scope["path"]
    theme = cookies.get(THEME_COOKIE, "")
    return Frame(
        theme=theme if theme in {"light", "dark"} else "",
        density="compact" if cookies.get(DENSITY_COOKIE) == "compact" else "",
        shortcuts=cookies.get(SHORTCUTS_COOKIE) != "off",
        path=f"{path}?{query}" if query else path,
        nonce=nonce_of(connection.scope),
        correlation_id=correlation_id_of(connection.scope),
        simulated=site_of(connection).simulated,
        zone=formats.zone_of(cookies.get(ZONE_COOKIE, "")),
    )


def drawn(
    connection: _Connection,
    template: str,
    page: object,
    *,
    shell: Shell | None = None,
    status: int = HTTPStatus.OK,
) -> Response[str]:
    """Return the answer that shows ``page``."""
    frame = frame_of(connection)
    renderer = site_of(connection).renderer
    return Response(
        renderer.page(template, frame=frame, page=page, shell=shell),
        status_code=status,
        media_type="text/html",
        headers=renderer.headers(frame),
    )


def see_other(address: str) -> Redirect:
    """Return the answer that sends a browser on after a form, so that reload repeats nothing."""
    return Redirect(address, status_code=303)


def own_address(text: str, otherwise: str = "/") -> str:
    """Return ``text`` if it is an address on this site, else ``otherwise``: no open redirects."""
    parts = urlsplit(text)
    inside = text.startswith("/") and not text.startswith("//")
    plain = text.isprintable() and "\\" not in text
    return text if inside and plain and not parts.scheme and not parts.netloc else otherwise
