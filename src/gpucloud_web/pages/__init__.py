"""Pages: a handler parses, calls use cases, and hands its template one frozen view row."""

from collections.abc import Sequence
from typing import Final

from litestar.types import ControllerRouterHandler

from gpucloud_web.pages.admin import AnyAllocationPages, DashboardPages
from gpucloud_web.pages.attention import AttentionPages
from gpucloud_web.pages.audit import AuditPages
from gpucloud_web.pages.billing import BillingPages
from gpucloud_web.pages.catalog import CatalogPages
from gpucloud_web.pages.coming import ComingPages
from gpucloud_web.pages.email import EmailPages
from gpucloud_web.pages.gallery import gallery
from gpucloud_web.pages.home import HomePages
from gpucloud_web.pages.images import ImagePages
from gpucloud_web.pages.inbox import InboxPages
from gpucloud_web.pages.launch import LaunchPages
from gpucloud_web.pages.live import live
from gpucloud_web.pages.nodes import NodeActPages, NodePages
from gpucloud_web.pages.own_views import OwnViewPages
from gpucloud_web.pages.palette import find
from gpucloud_web.pages.plans import PlanPages
from gpucloud_web.pages.preferences import (
    choose_columns,
    choose_density,
    choose_project,
    choose_shortcuts,
    choose_theme,
)
from gpucloud_web.pages.sign_in import AccountPages, SignInPages
from gpucloud_web.pages.skus import PricePages, SkuPages
from gpucloud_web.pages.ssh_keys import KeyPages
from gpucloud_web.pages.tasks import TaskPages
from gpucloud_web.pages.timers import TimerPages
from gpucloud_web.pages.waitlist import WaitlistPages
from gpucloud_web.pages.workload_bulk import BulkPages
from gpucloud_web.pages.workloads import AllocationPages, WorkloadPages

PAGES: Final[Sequence[ControllerRouterHandler]] = (
    SignInPages,
    AccountPages,
    EmailPages,
    HomePages,
    BulkPages,
    WorkloadPages,
    AllocationPages,
    CatalogPages,
    LaunchPages,
    TaskPages,
    TimerPages,
    BillingPages,
    KeyPages,
    InboxPages,
    OwnViewPages,
    find,
    DashboardPages,
    AnyAllocationPages,
    NodePages,
    NodeActPages,
    SkuPages,
    PricePages,
    ImagePages,
    AuditPages,
    PlanPages,
    WaitlistPages,
    AttentionPages,
    ComingPages,
    choose_theme,
    choose_density,
    choose_columns,
    choose_shortcuts,
    choose_project,
    live,
    gallery,
)
"""Every route for people; the application mounts them all."""
