"""How each part of the product is started: command lines that name modules.

The command line starts the edges by name, so that this package never imports them.
"""

import sys
from pathlib import Path
from typing import Final

FAULTS: Final = "faults.json"
"""What the simulated fleet is to do wrong, in the home folder."""


def module(name: str, *arguments: str) -> tuple[str, ...]:
    """Run a module with this Python; the working folder is kept off its path."""
    return (sys.executable, "-P", "-m", name, *arguments)


def web(host: str, port: int) -> tuple[str, ...]:
    return module(
        "granian",
        "--interface=asgi",
        "--factory",
        f"--host={host}",
        f"--port={port}",
        "--workers=1",
        "--workers-kill-timeout=5",  # live streams would hold a stop for ever
        "--no-access-log",
        "--log-level=warning",
        "gpucloud_web.app:create_app",
    )


def worker() -> tuple[str, ...]:
    return module("gpucloud_workers")


def migrate() -> tuple[str, ...]:
    return module("gpucloud_adapters.cli", "migrate")


def simulated_stripe(port: int, home: Path) -> tuple[str, ...]:
    return module("gpucloud_adapters.simulated.stripe_server", f"--port={port}", f"--home={home}")


def simulated_fleet(port: int, home: Path) -> tuple[str, ...]:
    """Start the fleet, with the faults of the home's ``faults.json`` if there is one."""
    script = home / FAULTS
    spoiled = (f"--faults={script}",) if script.exists() else ()
    return module(
        "gpucloud_adapters.simulated.fleet_server", f"--port={port}", f"--home={home}", *spoiled
    )


def demo() -> tuple[str, ...]:
    return module("gpucloud_adapters.demo")
