"""Every page of the product as data: where it is, who may see it, and what it does or will do.

Menus, the palette, the "coming" pages and the screen inventory are made from this table. A page
that is not there yet is not a dead link: it says what it will do, and that it is coming.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qs, urlsplit


class Audience(StrEnum):
    """Who a page is for."""

    MEMBER = "member"  # everyone signed in
    TENANT_ADMIN = "tenant_admin"  # owners and admins of a tenant; others see it restricted
    OPS = "ops"  # platform admin and ops
    PLATFORM_ADMIN = "platform_admin"
    BILLING_OPERATOR = "billing_operator"  # and platform admins


class Maturity(StrEnum):
    LIVE = "live"
    COMING = "coming"


@dataclass(frozen=True, slots=True, kw_only=True)
class NavPage:
    """One page. ``will_do`` is one sentence; ``jump`` is the key after ``g``."""

    title: str
    path: str
    icon: str
    will_do: str
    maturity: Maturity = Maturity.COMING
    audience: Audience = Audience.MEMBER
    jump: str = ""
    count: str = ""  # name of the count shown beside it


@dataclass(frozen=True, slots=True, kw_only=True)
class NavGroup:
    title: str
    pages: tuple[NavPage, ...]
    open_at_first: bool = False


_LIVE = Maturity.LIVE

GROUPS: Final[tuple[NavGroup, ...]] = (
    NavGroup(
        title="Overview",
        open_at_first=True,
        pages=(
            NavPage(
                title="Home",
                path="/",
                icon="home",
                maturity=_LIVE,
                jump="h",
                will_do="What runs, what it costs, how long the money lasts, what needs you.",
            ),
            NavPage(
                title="Billing & Usage",
                path="/billing",
                icon="wallet",
                maturity=_LIVE,
                jump="b",
                will_do="Balance, holds and runway; add funds; every billed second.",
            ),
        ),
    ),
    NavGroup(
        title="Workloads",
        open_at_first=True,
        pages=(
            NavPage(
                title="Active",
                path="/workloads",
                icon="stack-2",
                maturity=_LIVE,
                jump="w",
                count="active",
                will_do="Everything you run, with its state, its place and its cost.",
            ),
            NavPage(
                title="Needs attention",
                path="/workloads?view=attention",
                icon="alert-triangle",
                maturity=_LIVE,
                jump="n",
                count="attention",
                will_do="What failed or got worse, what it means for the money, what to do.",
            ),
        ),
    ),
    NavGroup(
        title="Infrastructure",
        open_at_first=True,
        pages=(
            NavPage(
                title="Catalog",
                path="/infra/catalog",
                icon="layout-grid",
                maturity=_LIVE,
                jump="c",
                will_do="What can be launched now, in which sizes, at which price.",
            ),
            NavPage(
                title="Allocations",
                path="/infra/allocations",
                icon="server-2",
                maturity=_LIVE,
                jump="a",
                will_do="The billed claims behind your workloads: hardware, holds, receipts.",
            ),
            NavPage(
                title="Storage",
                path="/infra/storage",
                icon="folder",
                will_do="Folders and files of a project: upload, download, rename, delete.",
            ),
        ),
    ),
    NavGroup(
        title="Apps",
        open_at_first=True,
        pages=(
            NavPage(
                title="Browse & Deploy",
                path="/apps",
                icon="apps",
                will_do="Choose an app and run it on an allocation you hold.",
            ),
            NavPage(
                title="Artifacts",
                path="/apps/artifacts",
                icon="package",
                will_do="Images and manifests with two axes: how far promoted, how far trusted.",
            ),
        ),
    ),
    NavGroup(
        title="Access",
        pages=(
            NavPage(
                title="Projects",
                path="/access/projects",
                icon="box",
                jump="p",
                will_do="Create, rename and delete projects; choose which one is the default.",
            ),
            NavPage(
                title="Team",
                path="/access/team",
                icon="users",
                will_do="Members, roles and invitations of your tenant.",
            ),
            NavPage(
                title="SSH Keys",
                path="/access/ssh-keys",
                icon="key",
                maturity=_LIVE,
                jump="k",
                will_do="Your public keys; a private key never reaches us.",
            ),
            NavPage(
                title="API Keys",
                path="/access/api-keys",
                icon="api",
                will_do="Scoped, expiring keys and service accounts for automation.",
            ),
            NavPage(
                title="Policies",
                path="/access/policies",
                icon="shield-lock",
                will_do="Limits by tenant and project: the value in force, and who set it.",
            ),
        ),
    ),
    NavGroup(
        title="Developer",
        pages=(
            NavPage(
                title="Docs",
                path="/developer/docs",
                icon="book",
                jump="d",
                will_do="Guides and concepts, with snippets that carry your project's id.",
            ),
            NavPage(
                title="Downloads",
                path="/developer/downloads",
                icon="download",
                will_do="The OpenAPI and AsyncAPI documents, the CLI's settings and the SDK.",
            ),
            NavPage(
                title="API Docs",
                path="/developer/api",
                icon="code",
                will_do="Every operation with its fields, errors and limits, inside this shell.",
            ),
        ),
    ),
    NavGroup(
        title="Ops",
        pages=(
            NavPage(
                title="Attention",
                path="/ops/attention",
                icon="bell-ringing",
                audience=Audience.OPS,
                maturity=_LIVE,
                will_do="What the platform cannot settle alone: acknowledge, snooze, act.",
            ),
            NavPage(
                title="Telemetry",
                path="/ops/telemetry",
                icon="activity",
                audience=Audience.OPS,
                will_do="Health of nodes, queues and workers over time.",
            ),
        ),
    ),
    NavGroup(
        title="Admin",
        pages=(
            NavPage(
                title="Dashboard",
                path="/admin",
                icon="gauge",
                maturity=_LIVE,
                audience=Audience.PLATFORM_ADMIN,
                will_do="GPUs, free nodes, active allocations and users, refreshed as you look.",
            ),
            NavPage(
                title="Nodes",
                path="/admin/nodes",
                icon="server",
                maturity=_LIVE,
                audience=Audience.OPS,
                will_do="Add, probe, discover, approve, drain and retire nodes.",
            ),
            NavPage(
                title="SKUs",
                path="/admin/skus",
                icon="tag",
                maturity=_LIVE,
                audience=Audience.PLATFORM_ADMIN,
                will_do="What is sold: shapes, sizes, shares and prices over time.",
            ),
            NavPage(
                title="OS Images",
                path="/admin/os-images",
                icon="disc",
                maturity=_LIVE,
                audience=Audience.PLATFORM_ADMIN,
                will_do="The images that can be booted, and where each may run.",
            ),
            NavPage(
                title="Allocations",
                path="/admin/allocations",
                icon="server-2",
                maturity=_LIVE,
                audience=Audience.OPS,
                will_do="Allocations of every tenant; force-release with a reason.",
            ),
            NavPage(
                title="Quotas",
                path="/admin/quotas",
                icon="adjustments",
                audience=Audience.PLATFORM_ADMIN,
                will_do="How much each tenant, project and person may hold.",
            ),
            NavPage(
                title="Users",
                path="/admin/users",
                icon="user",
                audience=Audience.PLATFORM_ADMIN,
                will_do="People, their tenants and balances; add funds, request refunds.",
            ),
            NavPage(
                title="Audit Logs",
                path="/admin/audit-logs",
                icon="file-text",
                maturity=_LIVE,
                audience=Audience.PLATFORM_ADMIN,
                will_do="Who did what, before and after, in a chain that can be checked.",
            ),
            NavPage(
                title="MAAS",
                path="/admin/maas",
                icon="cpu",
                audience=Audience.PLATFORM_ADMIN,
                will_do="Machines as the provisioning server sees them, and what it did.",
            ),
            NavPage(
                title="Payment Sessions",
                path="/admin/payment-sessions",
                icon="credit-card",
                audience=Audience.BILLING_OPERATOR,
                will_do="Every visit to the payment provider, and how it ended.",
            ),
        ),
    ),
)

PAGES: Final[Mapping[str, NavPage]] = {page.path: page for group in GROUPS for page in group.pages}
"""Each page by its address, as menus link to it."""

ROLE_WORDS: Final[Mapping[Audience, str]] = {
    Audience.MEMBER: "anyone signed in",
    Audience.TENANT_ADMIN: "an owner or admin of this tenant",
    Audience.OPS: "platform ops or a platform admin",
    Audience.PLATFORM_ADMIN: "a platform admin",
    Audience.BILLING_OPERATOR: "a billing operator or a platform admin",
}

GRANTED_BY: Final[Mapping[Audience, str]] = {
    Audience.MEMBER: "Sign in first.",
    Audience.TENANT_ADMIN: "An owner of this tenant can grant it under Access, Team.",
    Audience.OPS: "A platform admin can grant it.",
    Audience.PLATFORM_ADMIN: "Another platform admin can grant it.",
    Audience.BILLING_OPERATOR: "A platform admin can grant it.",
}


def current_page(here: str) -> NavPage | None:
    """Return the page that an address belongs to: itself, or the nearest one above it."""
    parts = urlsplit(here)
    path = parts.path.rstrip("/") or "/"
    if path == "/workloads" and parse_qs(parts.query).get("view") == ["attention"]:
        return PAGES["/workloads?view=attention"]
    while path not in PAGES:
        if path == "/" or "/" not in path:
            return None
        path = path.rpartition("/")[0] or "/"
        if path == "/":
            return None
    return PAGES[path]
