"""How long a terminal lasts, how many a person may have, and what is said when one ends. Pure."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from gpucloud_core.kernel.errors import DomainError, ErrorKind


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalLimits:
    """What a terminal is given.

    Attributes:
        detached: how long a shell waits for somebody to come back.
        idle: how long nothing may be typed and nothing printed.
        total: how long a terminal lasts at most.
        warning: how long before an end it is announced.
        per_person: how many shells one person has at one web process.
    """

    detached: timedelta = timedelta(minutes=5)
    idle: timedelta = timedelta(hours=1)
    total: timedelta = timedelta(hours=12)
    warning: timedelta = timedelta(minutes=5)
    per_person: int = 8


@dataclass(frozen=True, slots=True)
class Ended:
    """Why a terminal ended: a code for programs, a sentence for people."""

    code: str
    words: str


SHELL_ENDED: Final = Ended("shell_ended", "The shell has ended.")
NODE_LOST: Final = Ended("node_lost", "The connection to the node broke, and the shell with it.")
SIGNED_OUT: Final = Ended("signed_out", "You were signed out, so the terminal was closed.")
USER_DISABLED: Final = Ended("user_disabled", "Your account was disabled.")
ACCESS_REMOVED: Final = Ended("access_removed", "You no longer have access to this workload.")
NOT_ACTIVE: Final = Ended("not_active", "The workload is no longer active.")
UNCHECKED: Final = Ended("unchecked", "Your access could not be checked for a minute.")
TAKEN_OVER: Final = Ended("taken_over", "The terminal is now shown in another window.")
STOPPING: Final = Ended("stopping", "The service is restarting, and the shell ended with it.")
PROCESS_LOST: Final = Ended("process_lost", "The service went down, and the shell with it.")


class TooManyTerminals(DomainError):
    """You have as many terminals open as one person may."""

    code = "too_many_terminals"
    kind = ErrorKind.RATE_LIMITED
    next_step = "Type exit in one of the others; closing its window keeps it for five minutes."


class TerminalGone(DomainError):
    """This shell is out of reach: the service went down or moved, and what ran in it has ended."""

    code = "terminal_gone"
    kind = ErrorKind.NOT_FOUND
    next_step = "Open a new terminal. Files are as they were; keep long work in tmux."


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """A terminal's instants, on one clock that never goes back, in seconds."""

    opened: float
    active: float  # something was typed or printed
    detached: float | None  # since when nobody looks


@dataclass(frozen=True, slots=True)
class Warned:
    """An end that is near, and how far off it is."""

    words: str
    seconds: int


def overdue(life: Life, limits: TerminalLimits, now: float) -> Ended | None:
    """Return why the terminal must end now, if it must."""
    if life.detached is not None and now - life.detached >= limits.detached.total_seconds():
        words = f"You were away too long: a shell waits {_span(limits.detached)} for you."
        return Ended("detached", words)
    if now - life.opened >= limits.total.total_seconds():
        return Ended("total", f"A terminal lasts at most {_span(limits.total)}.")
    if now - life.active >= limits.idle.total_seconds():
        return Ended("idle", f"Nothing was typed or printed for {_span(limits.idle)}.")
    return None


def warning(life: Life, limits: TerminalLimits, now: float) -> Warned | None:
    """Return the end that is nearest, if it is near enough to speak of."""
    left, words = min(
        (
            limits.total.total_seconds() - (now - life.opened),
            f"This terminal ends soon: it lasts at most {_span(limits.total)}.",
        ),
        (
            limits.idle.total_seconds() - (now - life.active),
            "This terminal ends soon, as nothing is typed or printed. Press any key to keep it.",
        ),
    )
    if left > limits.warning.total_seconds():
        return None
    return Warned(words, max(0, int(left)))


def _span(length: timedelta) -> str:
    minutes = int(length.total_seconds()) // 60
    hours, rest = divmod(minutes, 60)
    if hours and not rest:
        return "1 hour" if hours == 1 else f"{hours} hours"
    return "1 minute" if minutes == 1 else f"{minutes} minutes"
