"""What stands around every page: theme, menu, project, the meter, and banners nobody can lose.

``Frame`` is what even the sign-in page needs; ``Shell`` adds what only a signed-in person has.
Both are made once per request and hold words and flags only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final

from gpucloud_core.access.model import Actor, PlatformRole, Project, Role, Tenant
from gpucloud_core.billing.model import Balance, Standing
from gpucloud_core.kernel.ids import ProjectId
from gpucloud_web import formats
from gpucloud_web.menu import MenuGroup, menu
from gpucloud_web.navigation import Audience
from gpucloud_web.status import look_of

ROLE_NAMES: Final[Mapping[Role, str]] = {
    Role.OWNER: "Owner",
    Role.ADMIN: "Admin",
    Role.MEMBER: "Member",
    Role.VIEWER: "Viewer",
}
PLATFORM_NAMES: Final[Mapping[PlatformRole, str]] = {
    PlatformRole.ADMIN: "Platform admin",
    PlatformRole.OPS: "Platform ops",
    PlatformRole.BILLING_OPERATOR: "Billing operator",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What the page itself needs, signed in or not.

    Attributes:
        theme: ``light``, ``dark``, or empty for the system's.
        density: ``compact`` or empty.
        shortcuts: single letters are shortcuts in this browser.
        path: the address of this page, with its query.
        nonce: allows this page's own style elements (the terminal makes some).
        simulated: hardware and payments are simulated; every page says so.
    """

    theme: str = ""
    density: str = ""
    shortcuts: bool = True
    path: str = "/"
    nonce: str = ""
    correlation_id: str = ""
    simulated: bool = False
    zone: tzinfo = UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """The top bar's rate and time left; amber or red with the standing."""

    tone: str
    icon: str
    strong: str
    rest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """One line under the top bar, with one action; it cannot be closed."""

    tone: str
    icon: str
    strong: str
    text: str
    action: str = ""
    href: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectChoice:
    id: str
    name: str
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """All that ``layouts/app.html`` may know."""

    groups: tuple[MenuGroup, ...]
    tenant: str
    project: str
    project_initials: str
    projects: tuple[ProjectChoice, ...]
    user: str
    user_initials: str
    role: str
    meter: Meter
    banners: tuple[Banner, ...]
    unread: int = 0

    @classmethod
    def of(
        cls,
        *,
        actor: Actor,
        tenant: Tenant,
        projects: Sequence[Project],
        project_id: ProjectId | None,
        balance: Balance,
        counts: Mapping[str, int],
        frame: Frame,
        now: datetime,
        unread: int = 0,
    ) -> "Shell":
        chosen = next((one for one in projects if one.id == project_id), None)
        project = chosen.name if chosen else "No project"
        banner = money_banner(balance, now, frame.zone)
        return cls(
            groups=menu(here=frame.path, audiences=audiences_of(actor), counts=counts),
            tenant=tenant.name,
            project=project,
            project_initials=formats.initials(project),
            projects=tuple(
                ProjectChoice(id=one.id, name=one.name, current=one is chosen) for one in projects
            ),
            user=actor.username,
            user_initials=formats.initials(actor.username),
            role=role_words(actor),
            meter=meter(balance, now),
            banners=(banner,) if banner else (),
            unread=unread,
        )


def audiences_of(actor: Actor) -> frozenset[Audience]:
    """Return which pages an actor's menu shows. What they may do there is decided elsewhere."""
    seen = {Audience.MEMBER}
    if actor.tenant_role in (Role.OWNER, Role.ADMIN):
        seen.add(Audience.TENANT_ADMIN)
    match actor.platform_role:
        case PlatformRole.ADMIN:
            seen |= {Audience.OPS, Audience.PLATFORM_ADMIN, Audience.BILLING_OPERATOR}
        case PlatformRole.OPS:
            seen.add(Audience.OPS)
        case PlatformRole.BILLING_OPERATOR:
            seen.add(Audience.BILLING_OPERATOR)
        case PlatformRole.USER:
            pass
    return frozenset(seen)


def role_words(actor: Actor) -> str:
    """Return the strongest role of an actor, in words."""
    if actor.platform_role in PLATFORM_NAMES:
        return PLATFORM_NAMES[actor.platform_role]
    return ROLE_NAMES[actor.tenant_role] if actor.tenant_role else "Guest"


def meter(balance: Balance, now: datetime) -> Meter:
    """Return rate and time left, or what is there when nothing is being spent."""
    look = look_of("standing", balance.standing)
    tone = "" if balance.standing is Standing.HEALTHY else look.tone
    rate = formats.hourly(balance.burn_rate_micros_per_hour, balance.currency)
    if balance.burn_rate_micros_per_hour and balance.depletes_at:
        left = f"{formats.span(now, balance.depletes_at)} left"
        return Meter(tone=tone, icon="flame" if not tone else look.icon, strong=rate, rest=left)
    free = formats.amount(balance.available_micros, balance.currency)
    return Meter(tone=tone, icon=look.icon, strong=free, rest="available")


def money_banner(balance: Balance, now: datetime, zone: tzinfo) -> Banner | None:
    """Return the line that a standing other than healthy puts on every page."""
    look = look_of("standing", balance.standing)
    rate = formats.hourly(balance.burn_rate_micros_per_hour, balance.currency)
    at = ""
    if balance.depletes_at:
        left = formats.span(now, balance.depletes_at)
        at = f"{formats.short_time(balance.depletes_at, now, zone)}, in {left}"
    match balance.standing:
        case Standing.HEALTHY:
            return None
        case Standing.LOW:
            text = (
                f"At {rate} it reaches zero at {at}. Then each workload follows its own "
                "end-of-balance plan."
            )
        case Standing.AUTO_RELEASE_PENDING:
            text = "The reserve is being spent. Workloads are released when it ends."
        case Standing.DEPLETED:
            text = "Nothing can be launched until funds are added."
        case Standing.SUSPENDED:
            text = "A payment is disputed. What runs goes on; new work waits for the outcome."
    return Banner(
        tone=look.tone,
        icon=look.icon,
        strong=f"{look.words}.",
        text=text,
        action="" if balance.standing is Standing.SUSPENDED else "Add funds",
        href="" if balance.standing is Standing.SUSPENDED else "/billing#add-funds",
    )
