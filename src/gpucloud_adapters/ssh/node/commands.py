"""Running the node's own tools: argument lists only, bounded in time, with their own words kept."""

import os
import subprocess
from collections.abc import Sequence
from typing import Final

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SAID_MAX: Final = 300


class Refused(Exception):
    """The node says no: a code and a sentence for the answer."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class ToolFailed(Refused):
    """A tool of the node did not do its work; what it said last is in the sentence."""

    def __init__(self, argv: Sequence[str], how: str, said: bytes) -> None:
        words = " ".join(said.decode(errors="replace").split())[-_SAID_MAX:]
        super().__init__("tool_failed", f"{' '.join(argv[:3])} {how}: {words}")


def environment() -> dict[str, str]:
    """Return the whole environment of the tools: nothing of the caller's gets through."""
    return {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/root"}


def run(*argv: str, stdin: bytes = b"", seconds: float = 30) -> bytes:
    """Run a tool and return its output.

    Raises:
        ToolFailed: it is missing, said no, or took too long.
    """
    try:
        done = subprocess.run(  # noqa: S603  argument lists of checked values, never a shell
            argv,
            input=stdin,
            capture_output=True,
            timeout=seconds,
            env=environment(),
            check=False,
        )
    except FileNotFoundError as error:
        raise ToolFailed(argv, "is not installed", b"") from error
    except subprocess.TimeoutExpired as error:
        raise ToolFailed(argv, f"took more than {seconds:g} s", error.stderr or b"") from error
    if done.returncode:
        raise ToolFailed(argv, f"ended with {done.returncode}", done.stderr or done.stdout)
    return done.stdout


def start(*argv: str, seconds: float = 30) -> None:
    """Run a tool that leaves a process behind, holding on to none of our files.

    Raises:
        ToolFailed: as for ``run``; what it said is lost.
    """
    with open(os.devnull, "r+b") as nothing:  # noqa: PTH123  a device
        try:
            done = subprocess.run(  # noqa: S603  argument lists of checked values
                argv,
                stdin=nothing,
                stdout=nothing,
                stderr=nothing,
                timeout=seconds,
                env=environment(),
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ToolFailed(argv, f"took more than {seconds:g} s", b"") from error
    if done.returncode:
        raise ToolFailed(argv, f"ended with {done.returncode}", b"")
