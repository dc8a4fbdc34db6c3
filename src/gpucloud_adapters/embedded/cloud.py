"""A whole cloud on one machine: what ``gpucloud up`` starts, and in which order.

Whatever does not wait for another starts at once: the simulators beside the databases, the schema
as soon as PostgreSQL answers, then web and worker. A new folder gets the demo's tenants before we
say that we are ready; an old one has them, and they are looked over afterwards. Whatever the
settings name is used instead of a part of our own.
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
from gpucloud_adapters.embedded.process import ChildFailed, Command, Supervisor, together
from gpucloud_adapters.embedded.valkey import EmbeddedValkey
from gpucloud_adapters.settings import PREFIX, UpSettings

# Below what systems hand out for outgoing connections; the fleet's hosts and slices take a block.
_PORTS: Final = {
    "fleet": range(20_000, 30_000, 1_000),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where everything of one run is, decided before anything starts.

    Attributes:
        ports: of our own servers, on loopback.
        port: of the web server.
        environment: what the product's processes are started with; holds the secrets.
    """

    settings: UpSettings
    home: Path
    ports: Mapping[str, int]
    port: int
    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    environment: Mapping[str, str]

    @classmethod
    def of(cls, settings: UpSettings, environment: Mapping[str, str]) -> "Plan":
        """Decide on ports, and make the secrets of a new folder.

        Raises:
            PortTaken: the web server's port is somebody else's.
        """
        home = private_folder(settings.home)
        port = web_port(settings.host, settings.port, chosen=settings.port_chosen)
        ports = kept_ports(home / "ports.json", _PORTS)
        postgres = EmbeddedPostgres(home=home / "postgres", port=ports["postgres"])
        valkey = EmbeddedValkey(home=home / "valkey", port=ports["valkey"])
        inherited = {
            name: value for name, value in environment.items() if not name.startswith(PREFIX)
        }
        return cls(
            settings=settings,
            home=home,
            ports=ports,
            port=port,
            postgres=postgres,
            valkey=valkey,
            environment=inherited
            | _addresses(settings, postgres, valkey)
            | _payments(settings, home, ports["stripe"])
            | _web(settings, home, port),
        )

    @property
    def demo_file(self) -> Path:
        return self.home / "demo.json"

    def running(self) -> Running:
        return Running(
            url=self.environment["GPUCLOUD_PUBLIC_URL"],
            home=self.home,
            sign_ins=read_sign_ins(self.demo_file),
            simulated_payments=self.settings.stripe_secret_key is None,
        )


@dataclass(frozen=True, slots=True)
class LocalCloud:
    """The parts of a plan under one supervisor."""

    plan: Plan
    supervisor: Supervisor
    report: Callable[[str], None]

    async def start(self) -> None:
        """Start everything and return when it answers.

        Raises:
            ChildFailed: a part did not come up.
        """
        if self.plan.demo_file.exists():
            await together(self._simulators(), self._product())
        else:
            await together(self._simulators(), self._stores())
            await together(self._edges(), self._run("demo", parts.demo()))

    async def look_over_demo(self) -> None:
        """Let an old folder's demo find what it lacks; that may fail without harm."""
        try:
            await self._run("demo", parts.demo())
        except ChildFailed as failed:
            self.report(str(failed))

    async def _simulators(self) -> None:
        plan = self.plan
        starts = [self._serve("fleet", parts.simulated_fleet(plan.ports["fleet"], plan.home))]
        if plan.settings.stripe_secret_key is None:
            home = plan.home / "stripe"
            stripe = parts.simulated_stripe(plan.ports["stripe"], home)
            starts.append(self._serve("stripe", stripe))
        await together(*starts)

    async def _product(self) -> None:
        await self._stores()
        await self._edges()

    async def _stores(self) -> None:
        starts = [self._database()]
        if self.plan.settings.redis_url is None:
            starts.append(self.supervisor.start(self.plan.valkey.command()))
        await together(*starts)

    async def _database(self) -> None:
        if self.plan.settings.database_url is None:
            await self.supervisor.start(self.plan.postgres.command())
            await self.plan.postgres.create()
        await self._run("migrate", parts.migrate())

    async def _edges(self) -> None:
        host, port = self.plan.settings.host, self.plan.port
        web = Command(
            name="web",
            argv=parts.web(host, port),
            environment=self.plan.environment,
            ready=lambda: _answers_healthz(host, port),
        )
        worker = Command(name="worker", argv=parts.worker(), environment=self.plan.environment)
        await together(self.supervisor.start(web), self.supervisor.start(worker))

    async def _serve(self, name: str, argv: tuple[str, ...]) -> None:
        await self.supervisor.start(
            Command(
                name=name,
                argv=argv,
                environment=self.plan.environment,
                ready=lambda: _listens("127.0.0.1", self.plan.ports[name]),
            )
        )

    async def _run(self, name: str, argv: tuple[str, ...]) -> None:
        await self.supervisor.run(Command(name=name, argv=argv, environment=self.plan.environment))


async def run_cloud(
    settings: UpSettings,
    environment: Mapping[str, str],
    *,
    report: Callable[[str], None],
    started: Callable[[Running], None],
) -> None:
    """Start a local cloud, say so, and keep it running until cancelled.

    Raises:
        AlreadyRunning: another one uses the same folder.
        PortTaken: the web server's port is somebody else's.
        ChildFailed: a part did not come up.
    """
    home = private_folder(settings.home)
    records = Records(home / "children.json")
    with held(home / "up.lock"):
        for name in await asyncio.to_thread(records.end_leftovers):
            report(f"ended {name}, left over from a run that was killed")
        plan = await asyncio.to_thread(Plan.of, settings, environment)
        if plan.port != settings.port:
            report(f"port {settings.port} is taken by something else; using {plan.port}")
        logs = private_folder(home / "logs")
        async with Supervisor(logs=logs, records=records, report=report) as supervisor:
            cloud = LocalCloud(plan, supervisor, report)
            had_demo = plan.demo_file.exists()
            await cloud.start()
            started(plan.running())
            await together(_never(), *((cloud.look_over_demo(),) if had_demo else ()))


def read_sign_ins(file: Path) -> tuple[SignIn, ...]:
    """Return the demo's accounts; none if there is no demo."""
    with suppress(OSError, ValueError, KeyError):
        rows = json.loads(file.read_text(encoding="utf-8"))["sign_ins"]
        return tuple(SignIn(row["username"], row["password"], row.get("note", "")) for row in rows)
    return ()


def _addresses(
    settings: UpSettings, postgres: EmbeddedPostgres, valkey: EmbeddedValkey
) -> dict[str, str]:
    database, redis = settings.database_url, settings.redis_url
    return {
        "DATABASE_URL": database.reveal() if database else postgres.url,
        "REDIS_URL": redis.reveal() if redis else valkey.url,
    }


def _payments(settings: UpSettings, home: Path, port: int) -> dict[str, str]:
    if settings.stripe_secret_key is not None:
        return {}  # the real ones are inherited
    keys = private_folder(home / "stripe")
    return {
        "STRIPE_SECRET_KEY": kept_secret(keys / "key", "sk_test_"),
        "STRIPE_WEBHOOK_SECRET": kept_secret(keys / "webhook", "whsec_"),
        "STRIPE_API_BASE": f"http://127.0.0.1:{port}",
    }


def _web(settings: UpSettings, home: Path, port: int) -> dict[str, str]:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return {
        "GPUCLOUD_HOME": str(home),
        "GPUCLOUD_HOST": settings.host,
        "GPUCLOUD_PORT": str(port),
        "GPUCLOUD_PUBLIC_URL": settings.public_url or f"http://{host}:{port}",
        "GPUCLOUD_ALLOW_INSECURE_HOST": "1" if settings.insecure_host else "0",
        "GPUCLOUD_SIMULATED": "1",
    }


async def _never() -> None:
    await asyncio.Event().wait()


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
                writer.write(f"GET /healthz HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n".encode())
                status = (await reader.readline()).split(b" ")
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return status[1:2] == [b"200"]
