"""The web application over a cloud in memory: every handler for real, no server and no database."""

from functools import cache

from dishka import AsyncContainer, Provider, Scope, from_context, make_async_container, provide
from litestar import Litestar

from gpucloud_adapters.memory.cloud import MemoryCloud
from gpucloud_adapters.memory.mails import MemoryMailer
from gpucloud_adapters.memory.node_driver import MemoryShells
from gpucloud_adapters.memory.passwords import ScryptPasswordHasher
from gpucloud_adapters.memory.payments import MemoryPayments
from gpucloud_adapters.memory.rate_limits import MemoryRateLimiter
from gpucloud_adapters.memory.secret_box import MemorySecretBox
from gpucloud_adapters.settings import Settings
from gpucloud_adapters.simulated.metrics import SeededMetrics
from gpucloud_adapters.system import SystemSecrets
from gpucloud_adapters.use_cases import inside
from gpucloud_core.access.ports import AccessUnit, PasswordHasher, RateLimiter, Secrets
from gpucloud_core.allocations.metrics import MetricsSource
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.audit.ports import AnchorStore, AuditUnit
from gpucloud_core.billing.ports import BillingUnit, PaymentProcessor
from gpucloud_core.catalog.ports import CatalogUnit, ImageSource
from gpucloud_core.fleet.ports import FleetUnit
from gpucloud_core.kernel.ids import Ids
from gpucloud_core.kernel.outbox import RelayUnit
from gpucloud_core.kernel.secret_box import SecretBox
from gpucloud_core.kernel.time import Clock
from gpucloud_core.kernel.unit import Transactions
from gpucloud_core.nodes.ports import NodeDriver, Shells
from gpucloud_core.notices.mail import Letterhead, Mailer
from gpucloud_core.notices.ports import NoticeUnit
from gpucloud_core.placement.fleet_view import FleetView
from gpucloud_core.placement.ports import PlacementUnit
from gpucloud_core.waitlist.ports import WaitlistUnit
from gpucloud_web.app import build

ORIGIN = "http://127.0.0.1:8000"
SETTINGS = Settings.of(
    {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1/none",
        "REDIS_URL": "redis://127.0.0.1/0",
        "STRIPE_SECRET_KEY": "sk_test_none",
        "STRIPE_WEBHOOK_SECRET": "whsec_none",
        "STRIPE_API_BASE": "http://127.0.0.1:9",
        "GPUCLOUD_SIMULATED": "1",
        "GPUCLOUD_PUBLIC_URL": ORIGIN,
    }
)


class InMemory(Provider):
    """Ports bound to the adapters of one ``MemoryCloud``."""

    scope = Scope.APP
    cloud = from_context(MemoryCloud)
    settings = from_context(Settings)

    @provide
    def clock(self, cloud: MemoryCloud) -> Clock:
        return cloud.clock

    @provide
    def ids(self, cloud: MemoryCloud) -> Ids:
        return cloud.ids

    @provide
    def jitter(self) -> SystemSecrets:
        return SystemSecrets()

    @provide
    def mailer(self) -> Mailer:
        return MemoryMailer()

    @provide
    def letterhead(self) -> Letterhead:
        return Letterhead(origin=ORIGIN)

    @provide
    def secrets(self, cloud: MemoryCloud) -> Secrets:
        return cloud.secrets

    @provide
    def access(self, cloud: MemoryCloud) -> Transactions[AccessUnit]:
        return cloud.transactions

    @provide
    def billing(self, cloud: MemoryCloud) -> Transactions[BillingUnit]:
        return cloud.transactions

    @provide
    def relay(self, cloud: MemoryCloud) -> Transactions[RelayUnit]:
        return cloud.transactions

    @provide
    def audit(self, cloud: MemoryCloud) -> Transactions[AuditUnit]:
        return cloud.transactions

    @provide
    def notices(self, cloud: MemoryCloud) -> Transactions[NoticeUnit]:
        return cloud.transactions

    @provide
    def anchors(self, cloud: MemoryCloud) -> AnchorStore:
        return cloud.anchors

    @provide
    def placement(self, cloud: MemoryCloud) -> Transactions[PlacementUnit]:
        return cloud.transactions

    @provide
    def allocations(self, cloud: MemoryCloud) -> Transactions[AllocationUnit]:
        return cloud.transactions

    @provide
    def nodes(self, cloud: MemoryCloud) -> Transactions[FleetUnit]:
        return cloud.transactions

    @provide
    def catalog(self, cloud: MemoryCloud) -> Transactions[CatalogUnit]:
        return cloud.transactions

    @provide
    def waiting(self, cloud: MemoryCloud) -> Transactions[WaitlistUnit]:
        return cloud.transactions

    @provide
    def box(self) -> SecretBox:
        return MemorySecretBox()

    @provide
    def limiter(self, cloud: MemoryCloud) -> RateLimiter:
        return MemoryRateLimiter(cloud.clock)

    @provide
    def hasher(self, cloud: MemoryCloud) -> PasswordHasher:
        return ScryptPasswordHasher(cloud.secrets, cost=16)

    @provide
    def driver(self, cloud: MemoryCloud) -> NodeDriver:
        return cloud.driver

    @provide
    def shells(self, cloud: MemoryCloud) -> Shells:
        return MemoryShells(cloud.driver)

    @provide
    def payments(self, cloud: MemoryCloud) -> PaymentProcessor:
        return MemoryPayments(cloud.clock, secret="whsec_none")

    @provide
    def metrics(self) -> MetricsSource:
        return SeededMetrics("memory")

    @provide
    def image_source(self, cloud: MemoryCloud) -> ImageSource:
        return cloud.images

    @provide
    def fleet(self, cloud: MemoryCloud) -> FleetView:
        return cloud.fleet


def memory_container(cloud: MemoryCloud, shells: Shells | None = None) -> AsyncContainer:
    """Return everything over ``cloud``; ``shells`` stand in for those of its nodes."""
    context = {MemoryCloud: cloud, Settings: SETTINGS}
    others = Provider(scope=Scope.APP)
    if shells is not None:
        others.provide(lambda: shells, provides=Shells, override=True)
    return make_async_container(InMemory(), *inside(), others, context=context)


@cache
def _built() -> Litestar:
    """Build the application once: its routes and its schema are the same for every cloud."""
    return build(SETTINGS, make_async_container(InMemory(), *inside(), skip_validation=True))


def memory_app(cloud: MemoryCloud, shells: Shells | None = None) -> Litestar:
    """Return the whole web application over ``cloud``; one cloud at a time."""
    app = _built()
    app.state.dishka_container = memory_container(cloud, shells)
    return app
