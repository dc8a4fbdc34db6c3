"""The terminal's WebSocket: checks who asks, then shows a shell that is held here.

The token comes in ``Sec-WebSocket-Protocol`` (browsers) or ``Authorization`` (programs), never in
the address. Origin and token are checked before any node is dialled. The address says, if anything,
which session to come back to and how much of it was seen (``?session=trm_…&seen=1234``), whether
the client acknowledges what it draws (``acks=1``), and the size of its screen (``cols``, ``rows``);
none of it is secret. What is said: ``frames``.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import structlog
from dishka import AsyncContainer
from litestar import websocket
from litestar.exceptions import WebSocketDisconnect
from litestar.params import FromPath

from gpucloud_core.allocations.terminal import (
    Admission,
    AdmitToTerminal,
    JudgeTerminals,
    OpenShell,
)
from gpucloud_core.allocations.terminal_life import Ended, TerminalGone
from gpucloud_core.allocations.terminal_record import RecordTerminal
from gpucloud_core.allocations.terminal_replay import Resumption
from gpucloud_core.kernel.errors import DomainError
from gpucloud_core.kernel.ids import AllocationId, parse_id
from gpucloud_web.caller import client_of
from gpucloud_web.edge import is_same_origin
from gpucloud_web.terminals import frames
from gpucloud_web.terminals.frames import Socket
from gpucloud_web.terminals.held import HeldShell, View
from gpucloud_web.terminals.registry import Terminals

log = structlog.get_logger(__name__)

LAST_WORDS_SECONDS: Final = 2.0
DIGITS_MAX: Final = 18
FOREIGN_ORIGIN: Final = Ended("foreign_origin", "Terminals open from our own pages only.")
TOO_LARGE: Final = Ended("too_large", "A frame holds at most 64 KiB.")
_GONE: Final = (WebSocketDisconnect, RuntimeError, OSError)


@websocket("/ws/terminal/{allocation_id:str}", opt={"exclude_from_auth": True})
async def terminal_socket(socket: Socket, allocation_id: FromPath[str]) -> None:
    """Join a WebSocket to a shell; closes with 4401 for a bad token."""
    origin = socket.headers.get("origin", "")
    host = socket.headers.get("host", "")
    token, subprotocol = _token(socket)
    await socket.accept(subprotocols=subprotocol)
    if origin and not is_same_origin(origin, socket.app.state.public_url, host):
        await _end(socket, FOREIGN_ORIGIN)
        return
    container: AsyncContainer = socket.app.state.dishka_container
    terminals: Terminals = socket.app.state.terminals
    wish = Wish.of(socket)
    try:
        admit = await container.get(AdmitToTerminal)
        admission = await admit(
            token=token, allocation_id=AllocationId(parse_id("alc", allocation_id)), origin=origin
        )
        if (past := _past(terminals, admission, wish)) is not None:
            await _end(socket, past, before=True)
            return
        held = await _held(socket, terminals, admission, wish)
    except DomainError as refusal:
        await _end(
            socket,
            Ended(refusal.code, refusal.detail),
            before=isinstance(refusal, TerminalGone),
        )
        return
    view, found = held.attach(wish.seen, acknowledges=wish.acknowledges)
    ended: Ended | None = None
    try:
        await _greet(socket, held, found, wish, terminals)
        ended = await _join(socket, held, view)
    except _GONE:
        pass  # it left; the shell waits
    finally:
        held.detach(view)
    if ended is not None:
        await _end(socket, ended)
        if held.is_drained(view) and held.is_seen(view):
            await terminals.let_go(held)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the address asks for."""

    session: str | None
    seen: int | None
    acknowledges: bool
    columns: int
    rows: int

    @classmethod
    def of(cls, socket: Socket) -> "Wish":
        return cls(
            session=socket.query_params.get("session") or None,
            seen=_number(socket, "seen"),
            acknowledges=socket.query_params.get("acks") == "1",
            columns=frames.side(_number(socket, "cols") or frames.COLUMNS),
            rows=frames.side(_number(socket, "rows") or frames.ROWS),
        )


def _number(socket: Socket, name: str) -> int | None:
    text = socket.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= DIGITS_MAX else None


def _token(socket: Socket) -> tuple[str, str | None]:
    """Return the token and the subprotocol to accept."""
    authorization: str = socket.headers.get("authorization", "")
    if authorization.lower().startswith("bearer "):
        return authorization[7:].strip(), None
    offered = [p.strip() for p in socket.headers.get("sec-websocket-protocol", "").split(",")]
    tokens = [each for each in offered if each and each != frames.PROTOCOL]
    return (tokens[0] if tokens else ""), frames.PROTOCOL if frames.PROTOCOL in offered else None


def _past(terminals: Terminals, admission: Admission, wish: Wish) -> Ended | None:
    if wish.session is None:
        return None
    return terminals.past(wish.session, admission.holder)


async def _held(
    socket: Socket, terminals: Terminals, admission: Admission, wish: Wish
) -> HeldShell:
    """Return the session asked for, or a new one."""
    if wish.session is not None:
        held = terminals.find(wish.session, admission.holder)
        await held.shell.resize(wish.columns, wish.rows)
        return held
    with terminals.place(admission.holder):
        container: AsyncContainer = socket.app.state.dishka_container
        open_shell = await container.get(OpenShell)
        return await terminals.hold(
            admission,
            await open_shell(admission, columns=wish.columns, rows=wish.rows),
            client_of(socket),
            judge=await container.get(JudgeTerminals),
            record=await container.get(RecordTerminal),
        )


async def _greet(
    socket: Socket, held: HeldShell, found: Resumption, wish: Wish, terminals: Terminals
) -> None:
    live = frames.Live(
        session=held.name,
        offset=found.offset,
        end=held.replay.end,
        lost=found.lost,
        typed=held.typed,
        resumed=wish.session is not None,
        lines=held.replay.lines(found.offset),
        kept_seconds=int(terminals.limits.detached.total_seconds()),
    )
    await socket.send_text(frames.text_of(live))


async def _join(socket: Socket, held: HeldShell, view: View) -> Ended | None:
    """Carry bytes both ways; return why the terminal ended, or None if the browser left."""
    show = asyncio.create_task(_show(socket, held, view))
    hear = asyncio.create_task(_hear(socket, held, view))
    jobs: set[asyncio.Future[Any]] = {show, hear, view.over}
    try:
        done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
        if view.over in done:
            return view.over.result()
        return show.result() if show in done else hear.result()
    finally:
        show.cancel()
        hear.cancel()
        await asyncio.gather(show, hear, return_exceptions=True)
        view.over.cancel()


async def _show(socket: Socket, held: HeldShell, view: View) -> Ended | None:
    """Send what the shell prints and what is said beside it, until the shell has ended."""
    while not held.is_drained(view):
        while view.said:
            await socket.send_text(view.said.popleft())
        if data := held.next_bytes(view):
            await socket.send_bytes(data)
        elif not held.is_drained(view):
            await view.woken()
    with suppress(TimeoutError):
        async with asyncio.timeout(LAST_WORDS_SECONDS):
            while not held.is_seen(view):
                await view.woken()
    return held.ended


async def _hear(socket: Socket, held: HeldShell, view: View) -> Ended | None:
    """Take what is typed and said, until the browser leaves."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        data, text = message.get("bytes"), message.get("text")
        if isinstance(data, bytes) and data:
            if len(data) > frames.FRAME_BYTES_MAX:
                return TOO_LARGE
            await held.take(view, data)
        elif isinstance(text, str) and text:
            if len(text) > frames.FRAME_BYTES_MAX:
                return TOO_LARGE
            await _control(held, view, text)


async def _control(held: HeldShell, view: View, text: str) -> None:
    try:
        message = frames.DECODER.decode(text)
    except msgspec.MsgspecError:
        return  # not ours; ignored, as newer clients may say more
    match message:
        case frames.Resize(cols, rows):
            await held.shell.resize(frames.side(cols), frames.side(rows))
        case frames.Ack(offset):
            held.acknowledge(view, offset)
        case frames.Ping(number):
            view.say(frames.text_of(frames.Pong(number=number)))


async def _end(socket: Socket, ended: Ended, *, before: bool = False) -> None:
    """Say why it is over and close; a socket that takes no more is left to the server."""
    with suppress(TimeoutError, *_GONE):
        async with asyncio.timeout(LAST_WORDS_SECONDS):
            over = frames.Over(code=ended.code, reason=ended.words, before=before)
            await socket.send_text(frames.text_of(over))
            code = frames.CLOSE_CODES.get(ended.code, frames.CLOSE_NODE)
            await socket.close(code=code, reason=ended.code)
