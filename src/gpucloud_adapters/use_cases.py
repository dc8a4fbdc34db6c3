"""Every use case, provided over whatever binds the ports."""

from typing import Final

from dishka import Provider, Scope, provide

from gpucloud_adapters.settings import Settings
from gpucloud_adapters.system import SystemSecrets
from gpucloud_core.access import (
    caller,
    password,
    projects,
    saved_views,
    sessions,
    sign_in,
    ssh_keys,
    terminal_tokens,
)
from gpucloud_core.access.ports import AccessUnit, PasswordHasher, RateLimiter, Secrets
from gpucloud_core.allocations import (
    catalog,
    edit_keys,
    endings,
    follow,
    force,
    launch,
    lists,
    metrics,
    operations,
    queries,
    quote,
    reconcile,
    release,
    restart,
    terminal,
    terminal_record,
    timer,
)
from gpucloud_core.allocations.actions import Provision, Release
from gpucloud_core.allocations.cleanup import CleanUp
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.audit import queries as audit_queries
from gpucloud_core.audit.ports import AnchorStore, AuditUnit
from gpucloud_core.audit.seal import AnchorAudit, SealAudit
from gpucloud_core.billing import burn, due, goodwill, payments, webhooks
from gpucloud_core.billing import queries as billing_queries
from gpucloud_core.billing.accounts import open_account
from gpucloud_core.billing.ports import BillingUnit, PaymentProcessor
from gpucloud_core.catalog import images, manage
from gpucloud_core.catalog import queries as sold_queries
from gpucloud_core.catalog.ports import ImageSource
from gpucloud_core.fleet import (
    add,
    distrust,
    find,
    look,
    look_again,
    operate,
    overview,
    place,
    plan,
    slots,
    sold,
    verify_audit,
    verify_image,
)
from gpucloud_core.fleet import queries as nodes
from gpucloud_core.fleet.ports import FleetUnit
from gpucloud_core.kernel.ids import Ids
from gpucloud_core.kernel.unit import Transactions
from gpucloud_core.nodes.ports import NodeDriver
from gpucloud_core.notices import attention, email_address, inbox, mail
from gpucloud_core.notices.overdue import SweepAttention
from gpucloud_core.notices.tell import TellPeople
from gpucloud_core.placement import change_mode, onboard, rediscover
from gpucloud_core.placement.enroll import EnrollNode
from gpucloud_core.waitlist import join, serve
from gpucloud_core.waitlist import queries as waiting
from gpucloud_core.work.run import RunTask
from gpucloud_core.work.turn import Actions

USE_CASES: Final = (
    sign_in.SignIn,
    caller.ResolveCaller,
    sessions.ResolveActor,
    sessions.Refresh,
    sessions.SignOut,
    sessions.ListSessions,
    sessions.RevokeSession,
    password.ChangePassword,
    projects.ReadMe,
    projects.ListProjects,
    ssh_keys.AddSshKey,
    ssh_keys.ListSshKeys,
    ssh_keys.DeleteSshKey,
    saved_views.ListViews,
    saved_views.SaveView,
    saved_views.ChangeView,
    saved_views.DeleteView,
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
    terminal_record.RecordTerminal,
    terminal_record.CloseLostTerminals,
    queries.ReadAllocation,
    lists.ListAllocations,
    lists.ListBriefs,
    lists.CountAllocations,
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
    sold_queries.ListAllSkus,
    sold_queries.ListAllImages,
    manage.AddSku,
    manage.ChangeSku,
    manage.SetPrice,
    manage.WithdrawPrice,
    images.AddImage,
    images.ChangeImage,
    sold.ReadSoldSku,
    sold.ReadImageInUse,
    verify_image.VerifyImage,
    verify_audit.VerifyAudit,
    plan.PlanCapacity,
    plan.ListPlans,
    plan.ReadPlan,
    plan.ListPools,
    verify_audit.ReadLastVerified,
    audit_queries.ListAudit,
    audit_queries.ReadAudit,
    audit_queries.ReadChain,
    join.JoinWaitlist,
    join.LeaveWaitlist,
    serve.ServeWaitlist,
    waiting.ListWaitlist,
    waiting.ReadWaitEntry,
    waiting.ReadForecast,
    add.AddNode,
    place.PlaceNode,
    look.LookAtNode,
    operate.OperateNode,
    distrust.DistrustNode,
    look.ChangeMode,
    slots.WithholdSlots,
    find.FindThings,
    nodes.ListNodes,
    nodes.CountNodes,
    nodes.NameNodes,
    nodes.ReadNode,
    overview.ReadOverview,
    overview.ListAnyAllocations,
    overview.CountAnyAllocations,
    overview.ReadAnyAllocation,
    SealAudit,
    AnchorAudit,
    TellPeople,
    SweepAttention,
    mail.SendMails,
    email_address.AskForEmail,
    email_address.ConfirmEmail,
    inbox.ListInbox,
    inbox.CountUnread,
    inbox.MarkRead,
    attention.ListAttention,
    attention.AcknowledgeAttention,
    attention.SnoozeAttention,
)
"""Use cases made of ports alone; dishka reads their fields."""


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
    def look_again(
        self, transactions: Transactions[FleetUnit], driver: NodeDriver
    ) -> look_again.LookAgain:
        return look_again.LookAgain(transactions=transactions, driver=driver)

    @provide
    def run_task(
        self,
        transactions: Transactions[AllocationUnit],
        fleet: Transactions[FleetUnit],
        driver: NodeDriver,
        ids: Ids,
        secrets: SystemSecrets,
        images_outside: ImageSource,
        trail: Transactions[AuditUnit],
        anchors: AnchorStore,
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
        verify = verify_image.ReadImageOutside(transactions=fleet, source=images_outside)
        check = verify_audit.CheckAudit(transactions=trail, anchors=anchors)
        what_if = plan.PlayPlan(transactions=fleet)
        actions: tuple[Actions[AllocationUnit], ...] = (
            *(provision, release_, edit, cleanup),
            *(stray, anew),
            *(probe, discover, mode, verify, check, what_if),
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
