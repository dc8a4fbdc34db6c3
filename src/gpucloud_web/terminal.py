"""The browser terminal: a WebSocket joined to a shell in a slice.

The token comes in ``Sec-WebSocket-Protocol`` (browsers) or ``Authorization`` (programs), never in
the address. Origin and token are checked before any node is dialled. Bytes go out as binary frames
and come in as binary frames; text frames are JSON: ``resize`` in, ``state`` out. Both directions
wait for each other, so a slow reader slows the shell instead of filling our memory.
"""

import asyncio
from typing import Any, Final

import msgspec
import structlog
from dishka import AsyncContainer
from litestar import WebSocket, websocket
from litestar.exceptions import WebSocketDisconnect
from litestar.params import FromPath

from gpucloud_core.access.terminal_tokens import TerminalTokenInvalid
from gpucloud_core.allocations.terminal import ConnectTerminal, MayStayOpen, Terminal
from gpucloud_core.kernel.errors import DomainError
from gpucloud_core.kernel.ids import AllocationId, parse_id
from gpucloud_web.edge import is_same_origin

log = structlog.get_logger(__name__)

PROTOCOL: Final = "gpucloud.terminal.v1"
FRAME_MAX: Final = 64 * 1024
STAY_SECONDS: Final = 2.0
COLUMNS, ROWS = 100, 30
SIZE_MAX: Final = 1000

CLOSE_ENDED: Final = 1000
CLOSE_TOO_LARGE: Final = 1009
CLOSE_TOKEN: Final = 4401
CLOSE_ORIGIN: Final = 4403
CLOSE_GONE: Final = 4409
CLOSE_NODE: Final = 4503

_Socket = WebSocket[Any, Any, Any]


class Resize(msgspec.Struct, tag_field="type", tag="resize"):
    cols: int
    rows: int


class Ping(msgspec.Struct, tag_field="type", tag="ping"):
    pass


_DECODER: Final = msgspec.json.Decoder(Resize | Ping)


@websocket("/ws/terminal/{allocation_id:str}", opt={"exclude_from_auth": True})
async def terminal_socket(socket: _Socket, allocation_id: FromPath[str]) -> None:
    """Join a WebSocket to a shell; closes with 4401 for a bad token."""
    origin = socket.headers.get("origin", "")
    host = socket.headers.get("host", "")
    public_url: str = socket.app.state.public_url
    token, subprotocol = _token(socket)
    await socket.accept(subprotocols=subprotocol)
    if origin and not is_same_origin(origin, public_url, host):
        await socket.close(code=CLOSE_ORIGIN, reason="foreign origin")
        return
    container: AsyncContainer = socket.app.state.dishka_container
    try:
        connect = await container.get(ConnectTerminal)
        terminal = await connect(
            token=token,
            allocation_id=AllocationId(parse_id("alc", allocation_id)),
            origin=origin,
            columns=COLUMNS,
            rows=ROWS,
        )
    except TerminalTokenInvalid:
        await socket.close(code=CLOSE_TOKEN, reason="terminal_token_invalid")
        return
    except DomainError as refusal:
        await _say(socket, "ended", refusal.detail)
        await socket.close(code=CLOSE_NODE, reason=refusal.code)
        return
    await _join(socket, terminal, await container.get(MayStayOpen))


def _token(socket: _Socket) -> tuple[str, str | None]:
    """Return the token and the subprotocol to accept."""
    authorization: str = socket.headers.get("authorization", "")
    if authorization.lower().startswith("bearer "):
        return authorization[7:].strip(), None
    offered = [p.strip() for p in socket.headers.get("sec-websocket-protocol", "").split(",")]
    tokens = [each for each in offered if each and each != PROTOCOL]
    return (tokens[0] if tokens else ""), PROTOCOL if PROTOCOL in offered else None


async def _join(socket: _Socket, terminal: Terminal, may_stay_open: MayStayOpen) -> None:
    """Carry bytes both ways until the shell ends, the browser leaves, or it must close."""
    await _say(socket, "live", "")
    jobs = {
        asyncio.create_task(_outward(socket, terminal), name="ended"),
        asyncio.create_task(_inward(socket, terminal), name="left"),
        asyncio.create_task(_watch(terminal, may_stay_open), name="closed"),
    }
    try:
        done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
        reason = next(iter(done)).get_name()
        for job in done:
            if (error := job.exception()) is not None and not isinstance(
                error, WebSocketDisconnect
            ):
                log.warning("terminal.broke", error=repr(error))
                reason = "broke"
    finally:
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        await terminal.shell.close()
    await _end(socket, reason)


async def _end(socket: _Socket, reason: str) -> None:
    words = {
        "ended": "The shell has ended.",
        "closed": "The allocation is no longer active.",
        "broke": "The connection to the node broke.",
    }
    if reason == "left":
        return
    try:
        await _say(socket, "ended", words[reason])
        code = {"ended": CLOSE_ENDED, "closed": CLOSE_GONE}.get(reason, CLOSE_NODE)
        await socket.close(code=code, reason=reason)
    except (WebSocketDisconnect, RuntimeError):
        return  # it left meanwhile


async def _outward(socket: _Socket, terminal: Terminal) -> None:
    while data := await terminal.shell.read():
        await socket.send_bytes(data)


async def _inward(socket: _Socket, terminal: Terminal) -> None:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        data, text = message.get("bytes"), message.get("text")
        if isinstance(data, bytes) and data:
            if len(data) > FRAME_MAX:
                await socket.close(code=CLOSE_TOO_LARGE, reason="frame too large")
                return
            await terminal.shell.write(data)
        elif isinstance(text, str) and text:
            await _control(terminal, text)


async def _control(terminal: Terminal, text: str) -> None:
    try:
        message = _DECODER.decode(text)
    except msgspec.MsgspecError:
        return  # not ours; ignored, as newer clients may say more
    if isinstance(message, Resize):
        columns, rows = (max(1, min(n, SIZE_MAX)) for n in (message.cols, message.rows))
        await terminal.shell.resize(columns, rows)


async def _watch(terminal: Terminal, may_stay_open: MayStayOpen) -> None:
    while await may_stay_open(terminal):  # noqa: ASYNC110  a row is watched, not an event
        await asyncio.sleep(STAY_SECONDS)


async def _say(socket: _Socket, state: str, reason: str) -> None:
    text = msgspec.json.encode({"type": "state", "state": state, "reason": reason}).decode()
    await socket.send_text(text)
