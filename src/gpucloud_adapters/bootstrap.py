"""The composition root: settings in, use cases out. The only module that knows every adapter.

Ports are bound to adapters here, once, and the type checker compares; `use_cases` builds on them.
Web and workers ask the same container.
"""

from collections.abc import AsyncIterator

from dishka import AsyncContainer, Provider, Scope, from_context, make_async_container, provide
from redis.asyncio import Redis

from gpucloud_adapters.argon2 import Argon2PasswordHasher
from gpucloud_adapters.audit_anchors import FileAnchors, anchor_file
from gpucloud_adapters.credentials import BoxedCredentials
from gpucloud_adapters.images.http_source import HttpImageSource
from gpucloud_adapters.mail.folder import FolderMailer
from gpucloud_adapters.mail.smtp import SmtpMailer, smtp_server
from gpucloud_adapters.postgres.engine import Engine, create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_adapters.prometheus.metrics import PrometheusMetrics
from gpucloud_adapters.redis.client import create_client
from gpucloud_adapters.redis.outbox_bell import OutboxBell
from gpucloud_adapters.redis.rate_limits import RedisRateLimiter
from gpucloud_adapters.secret_box import AesSecretBox, KeyFile
from gpucloud_adapters.settings import Settings
from gpucloud_adapters.simulated.metrics import SimulatedMetrics
from gpucloud_adapters.ssh.connections import SshConnections
from gpucloud_adapters.ssh.node_driver import SshNodeDriver
from gpucloud_adapters.ssh.shells import SshShells
from gpucloud_adapters.stripe.processor import StripeProcessor
from gpucloud_adapters.system import SystemClock, SystemIds, SystemSecrets
from gpucloud_adapters.use_cases import inside
from gpucloud_core.access.ports import AccessUnit, PasswordHasher, RateLimiter, Secrets
from gpucloud_core.allocations import (
    metrics,
)
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.audit.ports import AnchorStore, AuditUnit
from gpucloud_core.billing.ports import BillingUnit, PaymentProcessor
from gpucloud_core.catalog.ports import CatalogUnit, ImageSource
from gpucloud_core.fleet.ports import FleetUnit
from gpucloud_core.kernel.ids import Ids
from gpucloud_core.kernel.outbox import Bell, RelayUnit
from gpucloud_core.kernel.secret_box import SecretBox, SecretUnit
from gpucloud_core.kernel.time import Clock
from gpucloud_core.kernel.unit import Transactions
from gpucloud_core.nodes.ports import NodeDriver, Shells
from gpucloud_core.notices.mail import Letterhead, Mailer
from gpucloud_core.notices.ports import NoticeUnit
from gpucloud_core.placement.fleet_view import FleetView
from gpucloud_core.placement.ports import PlacementUnit
from gpucloud_core.waitlist.ports import WaitlistUnit


class Outside(Provider):
    """Ports bound to adapters."""

    scope = Scope.APP
    settings = from_context(Settings)

    @provide
    def clock(self) -> Clock:
        return SystemClock()

    @provide
    def ids(self) -> Ids:
        return SystemIds()

    @provide
    def system_secrets(self) -> SystemSecrets:
        return SystemSecrets()

    @provide
    def secrets(self, system: SystemSecrets) -> Secrets:
        return system

    @provide
    async def engine(self, settings: Settings) -> AsyncIterator[Engine]:
        engine = create_engine(settings.database_url.reveal())
        yield engine
        await engine.dispose()

    @provide
    def transactions(self, engine: Engine, bell: OutboxBell) -> PostgresTransactions:
        return PostgresTransactions(engine, committed=bell.ring)

    @provide
    def access_transactions(self, all_: PostgresTransactions) -> Transactions[AccessUnit]:
        return all_

    @provide
    def billing_transactions(self, all_: PostgresTransactions) -> Transactions[BillingUnit]:
        return all_

    @provide
    def relay_transactions(self, all_: PostgresTransactions) -> Transactions[RelayUnit]:
        return all_

    @provide
    def audit_transactions(self, all_: PostgresTransactions) -> Transactions[AuditUnit]:
        return all_

    @provide
    def notice_transactions(self, all_: PostgresTransactions) -> Transactions[NoticeUnit]:
        return all_

    @provide
    def secret_transactions(self, all_: PostgresTransactions) -> Transactions[SecretUnit]:
        return all_

    @provide
    def secret_box(self, settings: Settings) -> SecretBox:
        return AesSecretBox(KeyFile.of(settings.home))

    @provide
    def credentials(
        self, transactions: Transactions[SecretUnit], box: SecretBox
    ) -> BoxedCredentials:
        return BoxedCredentials(transactions=transactions, box=box)

    @provide
    def anchors(self, settings: Settings) -> AnchorStore:
        return FileAnchors(anchor_file(settings.home))

    @provide
    def placement_transactions(self, all_: PostgresTransactions) -> Transactions[PlacementUnit]:
        return all_

    @provide
    def allocation_transactions(self, all_: PostgresTransactions) -> Transactions[AllocationUnit]:
        return all_

    @provide
    def fleet_transactions(self, all_: PostgresTransactions) -> Transactions[FleetUnit]:
        return all_

    @provide
    def catalog_transactions(self, all_: PostgresTransactions) -> Transactions[CatalogUnit]:
        return all_

    @provide
    def waitlist_transactions(self, all_: PostgresTransactions) -> Transactions[WaitlistUnit]:
        return all_

    @provide
    async def redis(self, settings: Settings) -> AsyncIterator[Redis]:
        client = create_client(settings.redis_url.reveal())
        yield client
        await client.aclose()

    @provide
    async def outbox_bell(self, redis: Redis) -> AsyncIterator[OutboxBell]:
        bell = OutboxBell(redis)
        yield bell
        await bell.close()

    @provide
    def bell(self, bell: OutboxBell) -> Bell:
        return bell

    @provide
    def rate_limiter(self, redis: Redis) -> RateLimiter:
        return RedisRateLimiter(redis)

    @provide
    def password_hasher(self) -> PasswordHasher:
        return Argon2PasswordHasher()

    @provide
    async def connections(self, credentials: BoxedCredentials) -> AsyncIterator[SshConnections]:
        connections = SshConnections(credentials)
        yield connections
        await connections.close()

    @provide
    def node_driver(self, connections: SshConnections) -> NodeDriver:
        return SshNodeDriver(connections)

    @provide
    def shells(self, connections: SshConnections) -> Shells:
        return SshShells(connections)

    @provide
    def payment_processor(self, settings: Settings) -> PaymentProcessor:
        return StripeProcessor(
            secret_key=settings.stripe_secret_key.reveal(),
            webhook_secret=settings.stripe_webhook_secret.reveal(),
            api_base=settings.stripe_api_base,
        )

    @provide
    async def metrics_source(self, settings: Settings) -> AsyncIterator[metrics.MetricsSource]:
        if settings.metrics_url is None:
            yield SimulatedMetrics(settings.home / "fleet-seed")
            return
        source = PrometheusMetrics(settings.metrics_url)
        yield source
        await source.close()

    @provide
    async def image_source(self, settings: Settings) -> AsyncIterator[ImageSource]:
        source = HttpImageSource(settings.image_places)
        yield source
        await source.close()

    @provide
    def mailer(self, settings: Settings) -> Mailer:
        sender = settings.mail_from
        if settings.smtp_url is None:
            return FolderMailer(settings.home / "mail", sender=sender)
        return SmtpMailer(smtp_server(settings.smtp_url.reveal()), sender=sender)

    @provide
    def letterhead(self, settings: Settings) -> Letterhead:
        return Letterhead(origin=settings.public_url)

    @provide
    def fleet_view(self) -> FleetView:
        return FleetView()


def make_container(settings: Settings) -> AsyncContainer:
    """Return a container of everything, over ``settings``; close it to close connections.

    A container belongs to the event loop that first uses it.
    """
    return make_async_container(Outside(), *inside(), context={Settings: settings})
