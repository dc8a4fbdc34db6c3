"""What ``gpucloud up`` says in the terminal, and how Ctrl-C reaches it."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import Final, TextIO

from gpucloud_adapters.embedded.cloud import Running, run_cloud
from gpucloud_adapters.embedded.places import AlreadyRunning, PortTaken
from gpucloud_adapters.embedded.postgres import NoPostgres
from gpucloud_adapters.embedded.process import ChildFailed
from gpucloud_adapters.embedded.valkey import NoValkey
from gpucloud_adapters.settings import UpSettings

_INTERRUPTED: Final = 130
_EXPECTED: Final = (AlreadyRunning, PortTaken, NoPostgres, NoValkey, ChildFailed)


async def up(settings: UpSettings, environment: Mapping[str, str]) -> int:
    """Run a local cloud until the first signal; a second one ends it at once."""
    began = time.monotonic()

    def started(running: Running) -> None:
        say(welcome(running, time.monotonic() - began))

    say("Starting gpucloud")
    work = asyncio.create_task(run_cloud(settings, environment, report=report, started=started))
    _stop_on_signals(work)
    try:
        await work
    except asyncio.CancelledError:
        say("Stopped. Everything is kept; the next start finds it.")
        return 0
    except _EXPECTED as reason:
        say(str(reason), sys.stderr)
        return 1
    return 0


def welcome(running: Running, seconds: float) -> str:
    """Return what somebody needs who has just started their first cloud."""
    payments = "payments and GPUs are" if running.simulated_payments else "GPUs are"
    width = max((len(account.username) for account in running.sign_ins), default=0)
    secret = max((len(account.password) for account in running.sign_ins), default=0)
    accounts = [
        f"    {account.username:<{width}}  {account.password:<{secret}}  {account.note}".rstrip()
        for account in running.sign_ins
    ]
    return "\n".join(
        (
            "",
            f"  gpucloud is ready after {seconds:.1f} s; {payments} simulated.",
            "",
            f"  Open     {running.url}",
            *(("  Sign in", *accounts) if accounts else ()),
            f"  Data     {running.home} (logs in {running.home / 'logs'})",
            "",
            "  Ctrl-C stops everything; nothing is lost.",
            "",
        )
    )


def report(line: str) -> None:
    """Say something about a part, as a line of its own."""
    say(f"  {line}")


def say(text: str, stream: TextIO | None = None) -> None:
    """Print at once; a terminal that is gone must not keep anything from stopping."""
    stream = stream or sys.stdout
    try:
        print(text, file=stream, flush=True)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # or Python would fail once more on leaving


def _stop_on_signals(work: asyncio.Task[None]) -> None:
    loop = asyncio.get_running_loop()
    asked = False

    def stop() -> None:
        nonlocal asked
        if asked:
            os._exit(_INTERRUPTED)  # the guardian ends what is left
        asked = True
        work.cancel()
        say("\nStopping (again to stop at once)")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
