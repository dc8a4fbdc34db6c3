"""A whole cloud on one machine: what ``gpucloud up`` starts, and in which order.

Servers first and together; then the schema; then web, worker and the demo's tenants together.
Whatever the settings name is used instead of a part of our own. Secrets are made at random when
the folder is new and reach the children through their environment alone.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpucloud_adapters import parts
from gpucloud_adapters.embedded.leftovers import Records
from gpucloud_adapters.embedded.places import held, kept_ports, web_port
from gpucloud_adapters.embedded.postgres import EmbeddedPostgres
from gpucloud_adapters.embedded.private import kept_secret, private_folder
from gpucloud_adapters.embedded.process import Command, Supervisor
from gpucloud_adapters.embedded.valkey import EmbeddedValkey
from gpucloud_adapters.settings import PREFIX, UpSettings

# Below what systems hand out for outgoing connections; the fleet's hosts and slices take a block.
_PORTS: Final = {
    "fleet": range(20_000, 30_000, 500),
    "postgres": range(30_500, 31_000),
    "valkey": range(31_000, 31_500),
    "stripe": range(31_500, 32_000),
}
_ANSWER_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class SignIn:
    """One account of the demo, as it is shown to whoever started it."""

    username: str
    password: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What there is to know once everything answers."""

    url: str
    home: Path
    sign_ins: tuple[SignIn, ...]
    simulated_payments: bool


class LocalCloud:
    """All parts of the product under one supervisor."""

    def __init__(
        self,
        settings: UpSettings,
        environment: Mapping[str, str],
        report: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._inherited = {
            name: value for name, value in environment.items() if not name.startswith(PREFIX)
        }
        self._report = report
        self._home = private_folder(settings.home)
        self._logs = private_folder(self._home / "logs")
        self._records = Records(self._home / "children.json")

    async def run(self, started: Callable[[Running], None]) -> None:
        """Start everything, say so, and keep it running until cancelled.

        Raises:
            AlreadyRunning: another one uses the same folder.
            PortTaken: the web server's port is somebody else's.
            ChildFailed: a part did not come up.
        """
        with held(self._home / "up.lock"):
            await self._end_leftovers()
            port = self._web_port()
            ports = await asyncio.to_thread(kept_ports, self._home / "ports.json", _PORTS)
            async with Supervisor(
                logs=self._logs, records=self._records, report=self._report
            ) as supervisor:
                environment = await self._start_servers(supervisor, ports, port)
                await supervisor.run(_job("migrate", parts.migrate(), environment))
                await self._start_edges(supervisor, environment, port)
                started(self._running(environment))
                await asyncio.Event().wait()

    async def _end_leftovers(self) -> None:
        for name in await asyncio.to_thread(self._records.end_leftovers):
            self._report(f"ended {name}, left over from a run that was killed")

    def _web_port(self) -> int:
        settings = self._settings
        port = web_port(settings.host, settings.port, chosen=settings.port_chosen)
        if port != settings.port:
            self._report(f"port {settings.port} is taken by something else; using {port}")
        return port

    async def _start_servers(
        self, supervisor: Supervisor, ports: Mapping[str, int], port: int
    ) -> dict[str, str]:
        """Start what everything else stands on; return the environment that leads to it."""
        postgres = EmbeddedPostgres(home=self._home / "postgres", port=ports["postgres"])
        valkey = EmbeddedValkey(home=self._home / "valkey", port=ports["valkey"])
        environment = self._environment(postgres, valkey, ports, port)
        fleet = parts.simulated_fleet(ports["fleet"], self._home)
        commands = [_server("fleet", fleet, ports, environment)]
        if self._settings.database_url is None:
            commands.append(postgres.command())
        if self._settings.redis_url is None:
            commands.append(valkey.command())
        if self._settings.stripe_secret_key is None:
            stripe = parts.simulated_stripe(ports["stripe"], private_folder(self._home / "stripe"))
            commands.append(_server("stripe", stripe, ports, environment))
        await supervisor.start_together(commands)
        if self._settings.database_url is None:
            await postgres.create()
        return environment

    def _environment(
        self,
        postgres: EmbeddedPostgres,
        valkey: EmbeddedValkey,
        ports: Mapping[str, int],
        port: int,
    ) -> dict[str, str]:
        settings = self._settings
        shown = f"[{settings.host}]" if ":" in settings.host else settings.host
        database, redis = settings.database_url, settings.redis_url
        environment = self._inherited | {
            "DATABASE_URL": database.reveal() if database else postgres.url,
            "REDIS_URL": redis.reveal() if redis else valkey.url,
            "GPUCLOUD_HOME": str(self._home),
            "GPUCLOUD_HOST": settings.host,
            "GPUCLOUD_PORT": str(port),
            "GPUCLOUD_PUBLIC_URL": settings.public_url or f"http://{shown}:{port}",
            "GPUCLOUD_ALLOW_INSECURE_HOST": "1" if settings.insecure_host else "0",
            "GPUCLOUD_SIMULATED": "1",
        }
        if settings.stripe_secret_key is None:
            keys = self._home / "stripe"
            environment |= {
                "STRIPE_SECRET_KEY": kept_secret(keys / "key", "sk_test_"),
                "STRIPE_WEBHOOK_SECRET": kept_secret(keys / "webhook", "whsec_"),
                "STRIPE_API_BASE": f"http://127.0.0.1:{ports['stripe']}",
            }
        return environment

    async def _start_edges(
        self, supervisor: Supervisor, environment: Mapping[str, str], port: int
    ) -> None:
        web = Command(
            name="web",
            argv=parts.web(self._settings.host, port),
            environment=environment,
            ready=lambda: _answers_healthz(self._settings.host, port),
        )
        worker = Command(name="worker", argv=parts.worker(), environment=environment)
        demo = asyncio.create_task(supervisor.run(_job("demo", parts.demo(), environment)))
        try:
            await supervisor.start_together([web, worker])
            await demo
        finally:
            demo.cancel()

    def _running(self, environment: Mapping[str, str]) -> Running:
        return Running(
            url=environment["GPUCLOUD_PUBLIC_URL"],
            home=self._home,
            sign_ins=read_sign_ins(self._home / "demo.json"),
            simulated_payments=self._settings.stripe_secret_key is None,
        )


def read_sign_ins(file: Path) -> tuple[SignIn, ...]:
    """Return the demo's accounts; none if there is no demo."""
    with suppress(OSError, ValueError, KeyError):
        rows = json.loads(file.read_text(encoding="utf-8"))["sign_ins"]
        return tuple(SignIn(row["username"], row["password"], row.get("note", "")) for row in rows)
    return ()


def _job(name: str, argv: tuple[str, ...], environment: Mapping[str, str]) -> Command:
    return Command(name=name, argv=argv, environment=environment)


def _server(
    name: str, argv: tuple[str, ...], ports: Mapping[str, int], environment: Mapping[str, str]
) -> Command:
    return Command(
        name=name,
        argv=argv,
        environment=environment,
        ready=lambda: _listens("127.0.0.1", ports[name]),
    )


async def _listens(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


async def _answers_healthz(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                request = (
                    f"GET /healthz HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
                )
                writer.write(request.encode())
                status = (await reader.readline()).split(b" ")
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return status[1:2] == [b"200"]
