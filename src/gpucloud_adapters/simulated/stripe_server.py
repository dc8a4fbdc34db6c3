"""A Stripe-shaped server in one process: ``python -m gpucloud_adapters.simulated.stripe_server``.

What is not on the command line is taken from the product's own settings, so that secrets need not
be: started beside the web server, it serves that server's key and tells its webhook.
"""

import argparse
import asyncio
import logging
import os
import signal
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from granian.constants import Interfaces
from granian.server.embed import Server

from gpucloud_adapters.settings import Settings, SettingsInvalid
from gpucloud_adapters.simulated.stripe.app import Options, create_app
from gpucloud_adapters.simulated.stripe.faults import Faults
from gpucloud_adapters.system import SystemClock

LOOPBACK: Final = "127.0.0.1"
WEBHOOK_PATH: Final = "/api/v1/payments/webhook"
_FAILED: Final = 1


def options_of(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[Options, int]:
    """Return the options and the port; a wrong command line ends the program with a word about it.

    Raises:
        SettingsInvalid: something is neither on the command line nor in the environment.
    """
    parser = argparse.ArgumentParser(prog="stripe_server", description="A simulated Stripe.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--home", type=Path, required=True, help="folder for all state")
    parser.add_argument("--webhook-url", help="where events are sent")
    parser.add_argument("--webhook-secret", help="signs them")
    parser.add_argument("--api-key", help="the account's secret key")
    parser.add_argument("--settle-seconds", type=float, default=5.0, help="of a bank debit")
    parser.add_argument(
        "--faults", type=_faults, default=Faults(), help="such as duplicate=0.5,reorder=1,seed=7"
    )
    given = parser.parse_args(arguments)
    key, secret, url = given.api_key, given.webhook_secret, given.webhook_url
    if None in {key, secret, url}:
        settings = Settings.of(environment)
        key = key or settings.stripe_secret_key.reveal()
        secret = secret or settings.stripe_webhook_secret.reveal()
        url = url or settings.public_url + WEBHOOK_PATH
    options = Options(
        home=given.home,
        base_url=f"http://{LOOPBACK}:{given.port}",
        secret_key=key,
        webhook_url=url,
        webhook_secret=secret,
        settle_seconds=given.settle_seconds,
        faults=given.faults,
    )
    return options, given.port


async def serve(options: Options, port: int) -> None:
    """Serve until the process is asked to end."""
    server = Server(
        create_app(options, SystemClock()),
        address=LOOPBACK,
        port=port,
        interface=Interfaces.ASGI,
        log_enabled=False,
        websockets=False,
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, server.stop)
    await server.serve()


def _faults(text: str) -> Faults:
    try:
        return Faults.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main() -> int:
    """Run as a program; return its exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    try:
        options, port = options_of(sys.argv[1:], os.environ)
        asyncio.run(serve(options, port))
    except (SettingsInvalid, OSError, sqlite3.Error) as error:
        sys.stderr.write(f"stripe_server: {error}\n")
        return _FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
