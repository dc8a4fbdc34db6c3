"""What is said on a terminal's WebSocket, besides the bytes typed and printed.

Bytes go as binary frames, words as JSON in text frames. Both sides count the bytes of the shell:
the server tells where the first binary frame after ``live`` begins, the client acknowledges what it
has drawn and, coming back, names the place it has seen.
"""

from typing import Any, Final, Literal

import msgspec
from litestar import WebSocket

PROTOCOL: Final = "gpucloud.terminal.v1"
FRAME_BYTES_MAX: Final = 64 * 1024
COLUMNS, ROWS = 100, 30
SIDE_MAX: Final = 1000

CLOSE_ENDED: Final = 1000
CLOSE_TOO_LARGE: Final = 1009
CLOSE_STOPPING: Final = 1012
CLOSE_TOKEN: Final = 4401
CLOSE_ORIGIN: Final = 4403
CLOSE_TIME: Final = 4408
CLOSE_GONE: Final = 4409
CLOSE_ELSEWHERE: Final = 4410
CLOSE_TOO_MANY: Final = 4429
CLOSE_NODE: Final = 4503

CLOSE_CODES: Final = {
    "shell_ended": CLOSE_ENDED,
    "node_lost": CLOSE_NODE,
    "signed_out": CLOSE_TOKEN,
    "user_disabled": CLOSE_TOKEN,
    "access_removed": CLOSE_TOKEN,
    "unchecked": CLOSE_NODE,
    "not_active": CLOSE_GONE,
    "taken_over": CLOSE_ELSEWHERE,
    "stopping": CLOSE_STOPPING,
    "detached": CLOSE_TIME,
    "total": CLOSE_TIME,
    "idle": CLOSE_TIME,
    "terminal_gone": CLOSE_ELSEWHERE,
    "too_many_terminals": CLOSE_TOO_MANY,
    "too_large": CLOSE_TOO_LARGE,
    "terminal_token_invalid": CLOSE_TOKEN,
    "foreign_origin": CLOSE_ORIGIN,
}
"""The WebSocket's own code for each way a terminal ends; any other is the node's fault."""

Socket = WebSocket[Any, Any, Any]


class Resize(msgspec.Struct, tag_field="type", tag="resize"):
    cols: int
    rows: int


class Ping(msgspec.Struct, tag_field="type", tag="ping"):
    """Asks for a pong with the same number: keeps the way open, and measures it."""

    number: int = 0


class Ack(msgspec.Struct, tag_field="type", tag="ack"):
    """All bytes printed before ``offset`` are drawn."""

    offset: int


DECODER: Final = msgspec.json.Decoder(Resize | Ping | Ack)


class Live(msgspec.Struct, kw_only=True):
    """The first frame: a shell is there.

    Attributes:
        session: what to name to come back to this shell.
        offset: place of the first byte that follows.
        end: how many bytes there were when the client came; those before it are shown again.
        lost: bytes between what the client has seen, nothing on a blank screen, and ``offset``;
            they are no longer kept.
        typed: how many typed bytes have arrived so far; the client sends the rest again.
        resumed: the shell was there before.
        lines: how many lines are shown again.
        kept_seconds: how long the shell waits when nobody looks.
    """

    type: Literal["state"] = "state"
    state: Literal["live"] = "live"
    reason: str = ""
    session: str
    offset: int
    end: int
    lost: int
    typed: int
    resumed: bool
    lines: int
    kept_seconds: int


class Over(msgspec.Struct, kw_only=True):
    """The last frame before the socket is closed.

    Attributes:
        before: it was over before this socket came, which asked to go on with it.
    """

    type: Literal["state"] = "state"
    state: Literal["ended"] = "ended"
    code: str
    reason: str
    before: bool = False


class Notice(msgspec.Struct, kw_only=True):
    """Something to know while the terminal is live; empty takes back what was said."""

    type: Literal["notice"] = "notice"
    words: str
    seconds: int = 0


class Pong(msgspec.Struct, kw_only=True):
    type: Literal["pong"] = "pong"
    number: int


class Typed(msgspec.Struct, kw_only=True):
    """The shell took all typed bytes before ``typed``."""

    type: Literal["typed"] = "typed"
    typed: int


def text_of(message: Live | Over | Notice | Pong | Typed) -> str:
    return msgspec.json.encode(message).decode()


def side(number: int) -> int:
    """Return a number of columns or rows that a terminal may have."""
    return max(1, min(number, SIDE_MAX))
