"""Where a local cloud lives: its folder, its lock, and ports that stay the same."""

import fcntl
import json
import os
import secrets
import socket
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from gpucloud_adapters.embedded.private import write_private

_TRIES: Final = 20


class AlreadyRunning(Exception):
    """Another ``gpucloud up`` uses this folder; says which."""


class PortTaken(Exception):
    """Something else listens on the port that was asked for; says what to do."""


@contextmanager
def held(lock: Path) -> Iterator[None]:
    """Hold ``lock`` for the length of the block; it falls open however the holder ends.

    Raises:
        AlreadyRunning: another process holds it.
    """
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise AlreadyRunning(
                f"gpucloud is already running on {lock.parent} (process {file.read().strip()}). "
                "Stop it first, or set GPUCLOUD_HOME to another folder."
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def is_free(host: str, port: int) -> bool:
    """Tell whether we could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def web_port(host: str, port: int, *, chosen: bool) -> int:
    """Return the port for the web server: ``port``, or the next free one if nobody chose it.

    Raises:
        PortTaken: it was chosen by name, or no port near it is free.
    """
    for candidate in (port,) if chosen else range(port, port + _TRIES):
        if is_free(host, candidate):
            return candidate
    raise PortTaken(
        f"Port {port} on {host} is taken. Stop what listens there, or choose another: "
        "GPUCLOUD_PORT=8080 make run"
    )


def kept_ports(file: Path, ranges: Mapping[str, range]) -> dict[str, int]:
    """Return a free loopback port for each name, the same as last time wherever that is free.

    ``ranges`` holds the ports that each name may have. One that needs a block of ports gives a
    range whose step is the size of the block, and gets the first of one.
    """
    known: dict[str, int] = {}
    with suppress(OSError, ValueError):
        known = json.loads(file.read_text())
    ports: dict[str, int] = {}
    for name, range_ in ranges.items():
        port = known.get(name, 0)
        if port not in range_ or not is_free("127.0.0.1", port):
            port = _any_free(range_, ports.values())
        ports[name] = port
    write_private(file, json.dumps(ports))
    return ports


def _any_free(range_: range, taken: Collection[int]) -> int:
    for _ in range(_TRIES):
        port = secrets.choice(range_)
        if port not in taken and is_free("127.0.0.1", port):
            return port
    raise PortTaken(f"No port from {range_.start} to {range_.stop} is free on 127.0.0.1.")
