"""The composition root: settings in, use cases out. The only module that knows every adapter.

Use cases are frozen dataclasses, so each is provided by naming it; ports are bound to adapters
here, once, and the type checker compares. Web and workers ask the same container.
"""

from collections.abc import AsyncIterator
from typing import Final

from dishka import AsyncContainer, Provider, Scope, from_context, make_async_container, provide
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from gpucloud_adapters.argon2 import Argon2PasswordHasher
from gpucloud_adapters.audit_anchors import FileAnchors, anchor_file
from gpucloud_adapters.credentials import BoxedCredentials
from gpucloud_adapters.postgres.engine import create_engine
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
from gpucloud_core.access import projects, sessions, sign_in, ssh_keys, terminal_tokens
from gpucloud_core.access.ports import AccessUnit, PasswordHasher, RateLimiter, Secrets
from gpucloud_core.allocations import (
    catalog,
    edit_keys,
    endings,
    follow,
    force,
    launch,
    metrics,
    operations,
    queries,
    quote,
    reconcile,
    release,
    restart,
    terminal,
    timer,
)
from gpucloud_core.allocations.actions import Provision, Release
from gpucloud_core.allocations.cleanup import CleanUp
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.audit.ports import AnchorStore, AuditUnit
from gpucloud_core.audit.seal import AnchorAudit, SealAudit
from gpucloud_core.billing import burn, due, goodwill, payments, webhooks
from gpucloud_core.billing import queries as billing_queries
from gpucloud_core.billing.accounts import open_account
from gpucloud_core.billing.ports import BillingUnit, PaymentProcessor
from gpucloud_core.catalog import manage
from gpucloud_core.catalog.ports import CatalogUnit
from gpucloud_core.fleet import add, distrust, look, operate, overview, slots
from gpucloud_core.fleet import queries as nodes
from gpucloud_core.fleet.ports import FleetUnit
from gpucloud_core.kernel.ids import Ids
from gpucloud_core.kernel.outbox import Bell, RelayUnit
from gpucloud_core.kernel.secret_box import SecretBox, SecretUnit
from gpucloud_core.kernel.time import Clock
from gpucloud_core.kernel.unit import Transactions
from gpucloud_core.nodes.ports import NodeDriver, Shells
from gpucloud_core.notices import attention, inbox
from gpucloud_core.notices.overdue import SweepAttention
from gpucloud_core.notices.ports import NoticeUnit
from gpucloud_core.notices.tell import TellPeople
from gpucloud_core.placement import change_mode, onboard, rediscover
from gpucloud_core.placement.enroll import EnrollNode
from gpucloud_core.placement.fleet_view import FleetView
from gpucloud_core.placement.ports import PlacementUnit
from gpucloud_core.waitlist import join, serve
from gpucloud_core.waitlist import queries as waiting
from gpucloud_core.waitlist.ports import WaitlistUnit
from gpucloud_core.work.run import Actions, RunTask

USE_CASES: Final = (
    sign_in.SignIn,
    sessions.ResolveActor,
    sessions.Refresh,
    sessions.SignOut,
    sessions.ListSessions,
    sessions.RevokeSession,
    projects.ReadMe,
    projects.ListProjects,
    ssh_keys.AddSshKey,
    ssh_keys.ListSshKeys,
    ssh_keys.DeleteSshKey,
    terminal_tokens.MintTerminalToken,
    terminal_tokens.RedeemTerminalToken,
    catalog.ReadCatalog,
    catalog.ListImages,
    quote.QuoteLaunch,
    launch.LaunchAllocations,
    release.ReleaseAllocation,
    release.CancelAllocation,
    restart.RestartAllocation,
    timer.SetTimer,
    edit_keys.EditKeys,
    follow.CancelTask,
    follow.RetryFailed,
    force.ForceRelease,
    force.ForceCleanAllocation,
    reconcile.ReconcileNode,
    reconcile.ReconcileMoney,
    endings.ReleaseExpired,
    endings.ReleaseUnfunded,
    terminal.OpenTerminal,
    terminal.AdmitToTerminal,
    terminal.OpenShell,
    terminal.JudgeTerminals,
    queries.ReadAllocation,
    queries.ListAllocations,
    queries.CountAllocations,
    queries.ReadTimeline,
    queries.ReadReceipt,
    queries.ReadTask,
    queries.ListTaskEvents,
    metrics.ReadMetrics,
    billing_queries.ReadBalance,
    billing_queries.ListUsage,
    billing_queries.ListLedger,
    burn.ReadBurn,
    payments.ReadPayment,
    webhooks.ReceiveWebhook,
    webhooks.HandleWebhook,
    webhooks.DueWebhooks,
    due.SettleDue,
    due.MeetDeadline,
    EnrollNode,
    onboard.ProposeNode,
    onboard.ReviewNode,
    onboard.ApproveSlots,
    rediscover.RediscoverNode,
    rediscover.AcceptFindings,
    change_mode.ChangeNodeMode,
    goodwill.GiveGoodwill,
    manage.ListAllSkus,
    manage.AddSku,
    manage.ChangeSku,
    manage.SetPrice,
    manage.ListAllImages,
    manage.AddImage,
    manage.OfferImage,
    join.JoinWaitlist,
    join.LeaveWaitlist,
    serve.ServeWaitlist,
    waiting.ListWaitlist,
    waiting.ReadWaitEntry,
    waiting.ReadForecast,
    add.AddNode,
    look.LookAtNode,
    operate.OperateNode,
    distrust.DistrustNode,
    look.ChangeMode,
    slots.WithholdSlots,
    nodes.ListNodes,
    nodes.CountNodes,
    nodes.ReadNode,
    overview.ReadOverview,
    overview.ListAnyAllocations,
    overview.CountAnyAllocations,
    overview.ReadAnyAllocation,
    SealAudit,
    AnchorAudit,
    TellPeople,
    SweepAttention,
    inbox.ListInbox,
    inbox.CountUnread,
    inbox.MarkRead,
    attention.ListAttention,
    attention.AcknowledgeAttention,
    attention.SnoozeAttention,
)
"""Use cases made of ports alone; dishka reads their fields."""


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
    async def engine(self, settings: Settings) -> AsyncIterator[AsyncEngine]:
        engine = create_engine(settings.database_url.reveal())
        yield engine
        await engine.dispose()

    @provide
    def transactions(self, engine: AsyncEngine, bell: OutboxBell) -> PostgresTransactions:
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
    def fleet_view(self) -> FleetView:
        return FleetView()


class Inside(Provider):
    """Use cases that need more than ports."""

    scope = Scope.APP

    @provide
    def attempt_limits(self) -> sign_in.AttemptLimits:
        return sign_in.AttemptLimits()

    @provide
    def sign_up(
        self,
        transactions: Transactions[AccessUnit],
        hasher: PasswordHasher,
        limiter: RateLimiter,
        secrets: Secrets,
        ids: Ids,
    ) -> sign_in.SignUp:
        return sign_in.SignUp(
            transactions=transactions,
            hasher=hasher,
            limiter=limiter,
            secrets=secrets,
            ids=ids,
            founding=(open_account,),
        )

    @provide
    def start_checkout(
        self,
        transactions: Transactions[BillingUnit],
        processor: PaymentProcessor,
        ids: Ids,
        settings: Settings,
    ) -> payments.StartCheckout:
        return payments.StartCheckout(
            transactions=transactions,
            processor=processor,
            ids=ids,
            public_origin=settings.public_url,
        )

    @provide
    def open_portal(
        self,
        transactions: Transactions[BillingUnit],
        processor: PaymentProcessor,
        ids: Ids,
        settings: Settings,
    ) -> payments.OpenPortal:
        return payments.OpenPortal(
            transactions=transactions,
            processor=processor,
            ids=ids,
            public_origin=settings.public_url,
        )

    @provide
    def run_task(
        self,
        transactions: Transactions[AllocationUnit],
        fleet: Transactions[FleetUnit],
        driver: NodeDriver,
        ids: Ids,
        secrets: SystemSecrets,
    ) -> RunTask[AllocationUnit]:
        provision = Provision(transactions=transactions, driver=driver, ids=ids)
        release_ = Release(transactions=transactions, driver=driver, ids=ids)
        edit = operations.EditKeysOnNode(transactions=transactions, driver=driver, ids=ids)
        cleanup = operations.ForceCleanup(transactions=transactions, driver=driver, ids=ids)
        stray = CleanUp(transactions=transactions, driver=driver, ids=ids)
        anew = restart.RestartOnNode(transactions=transactions, driver=driver, ids=ids)
        probe = look.ProbeNode(transactions=fleet, driver=driver, ids=ids)
        discover = look.DiscoverNode(transactions=fleet, driver=driver, ids=ids)
        mode = look.ChangeModeOnNode(transactions=fleet, driver=driver, ids=ids)
        actions: tuple[Actions[AllocationUnit], ...] = (
            *(provision, release_, edit, cleanup),
            *(stray, anew),
            *(probe, discover, mode),
        )
        return RunTask(
            transactions=transactions,
            ids=ids,
            jitter=secrets,
            actions={action.saga.kind: action for action in actions},
        )


def inside() -> tuple[Provider, ...]:
    """Return the providers of every use case, over whatever binds the ports."""
    named = Provider(scope=Scope.APP)
    for use_case in USE_CASES:
        named.provide(use_case)
    return (Inside(), named)


def make_container(settings: Settings) -> AsyncContainer:
    """Return a container of everything, over ``settings``; close it to close connections.

    A container belongs to the event loop that first uses it.
    """
    return make_async_container(Outside(), *inside(), context={Settings: settings})
