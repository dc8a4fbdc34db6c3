"""Small child processes for tests of whoever starts, watches and ends them."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from typing import Final

PATIENCE: Final = 20.0
ENVIRONMENT: Final = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}


async def eventually(fact: Callable[[], bool], what: str) -> None:
    """Wait until ``fact`` holds, with a bound."""
    deadline = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < deadline, f"waited {PATIENCE:g} s for this: {what}"
        await asyncio.sleep(0.05)


def python(code: str, *arguments: str) -> tuple[str, ...]:
    """Return the command line of a few lines of Python."""
    return (sys.executable, "-c", code, *arguments)
