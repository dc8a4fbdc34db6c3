"""Mint the one-time token with which a terminal is opened."""

from datetime import datetime

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import Request, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath

from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.terminal import OpenTerminal
from gpucloud_core.kernel.ids import AllocationId, parse_id
from gpucloud_web.keyed import OPT, Once


class TerminalTokenBody(msgspec.Struct):
    """Works once, for 30 seconds, from the same origin. Send it as subprotocol or bearer token."""

    token: str
    expires_at: datetime
    websocket_url: str


@post(
    "/allocations/{allocation_id:str}/terminal-token",
    operation_id="mintTerminalToken",
    status_code=201,
    opt={OPT: Once.ONE_TIME},
    tags=["allocations"],
)
async def mint_terminal_token(
    request: Request[object, object, State],
    allocation_id: FromPath[str],
    actor: NamedDependency[Actor],
    open_terminal: FromDishka[OpenTerminal],
) -> TerminalTokenBody:
    """Mint a one-time token for a terminal of an active allocation."""
    found = AllocationId(parse_id("alc", allocation_id))
    minted = await open_terminal(
        actor=actor, allocation_id=found, origin=request.headers.get("origin", "")
    )
    scheme = "wss" if request.url.scheme == "https" else "ws"
    url = f"{scheme}://{request.headers.get('host', '')}/ws/terminal/{found}"
    return TerminalTokenBody(minted.token, minted.expires_at, url)
