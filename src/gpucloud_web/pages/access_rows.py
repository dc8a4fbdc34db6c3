"""View rows of a person's own things: signing in, SSH keys, the account and its sessions."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from gpucloud_core.access.model import Actor, Session, SessionKind, SshKey, User
from gpucloud_core.access.projects import Me
from gpucloud_web import formats
from gpucloud_web.components import Consequence, Fact, FieldFault, MenuEntry
from gpucloud_web.shell import ROLE_NAMES, role_words
from gpucloud_web.tables import NEWEST_FIRST, Cell, Column, Empty, ListSpec, ListView, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInPage:
    """All that ``access/login.html`` may know.

    Attributes:
        tab: ``personal`` or ``work``.
        making: the form makes an account instead of opening one.
    """

    tab: str
    making: bool
    username: str
    email: str
    next: str
    errors: tuple[FieldFault, ...]
    error_title: str
    faults: Mapping[str, str]
    signed_out: bool

    @classmethod
    def of(
        cls,
        *,
        tab: str = "personal",
        making: bool = False,
        username: str = "",
        email: str = "",
        next_address: str = "",
        errors: Sequence[FieldFault] = (),
        signed_out: bool = False,
    ) -> "SignInPage":
        return cls(
            tab=tab,
            making=making,
            username=username,
            email=email,
            next=next_address,
            errors=tuple(errors),
            error_title="No account was made." if making else "Not signed in.",
            faults={fault.field: fault.text for fault in errors if fault.field},
            signed_out=signed_out,
        )


KEYS: Final = ListSpec(
    name="ssh-keys",
    noun="keys",
    sorts={**NEWEST_FIRST, "name": "Name, A to Z", "-name": "Name, Z to A"},
    columns=(
        Column(key="name", title="Name", sort="name"),
        Column(key="type", title="Type"),
        Column(key="fingerprint", title="Fingerprint"),
        Column(key="added", title="Added", sort="id", number=True),
    ),
    search="Name or fingerprint",
)
NO_KEYS: Final = Empty(
    heading="No key yet",
    sentence="With a key you get a shell on what you launch. Print the public half of yours and "
    "paste it beside; if you have none, ssh-keygen makes one.",
    command="ssh-keygen -t ed25519 && cat ~/.ssh/id_ed25519.pub",
)


def key_row(key: SshKey, now: datetime, zone: tzinfo) -> Row:
    """Return a public key of one's own."""
    return Row(
        id=key.id,
        label=key.name,
        menu=(
            MenuEntry(text="Copy public key", icon="copy", href="#", copy=key.public_key),
            MenuEntry(text="-"),
            MenuEntry(
                text="Delete…",
                icon="trash",
                href=f"/access/ssh-keys/{key.id}/delete",
                danger=True,
                dialog=True,
                operation="deleteSshKey",
            ),
        ),
        cells={
            "name": Cell(text=key.name, second="" if key.comment == key.name else key.comment),
            "type": Cell(text=key.type, mono=True),
            "fingerprint": Cell(
                text=key.fingerprint,
                copy=key.fingerprint,
                copy_label=f"fingerprint of {key.name}",
            ),
            "added": Cell(when=formats.moment(key.created_at, now, zone)),
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysPage:
    """All that ``access/ssh_keys.html`` may know."""

    list: ListView
    name: str
    public_key: str
    next: str
    errors: tuple[FieldFault, ...]
    faults: Mapping[str, str]

    @classmethod
    def of(
        cls,
        keys: ListView,
        *,
        name: str = "",
        public_key: str = "",
        next_address: str = "",
        errors: Sequence[FieldFault] = (),
    ) -> "KeysPage":
        return cls(
            list=keys,
            name=name,
            public_key=public_key,
            next=next_address,
            errors=tuple(errors),
            faults={fault.field: fault.text for fault in errors if fault.field},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDeletePage:
    """All that ``access/ssh_key_delete.html`` may know."""

    title: str
    action: str
    verb: str
    back: str
    points: tuple[Consequence, ...]

    @classmethod
    def of(cls, key: SshKey) -> "KeyDeletePage":
        return cls(
            title=f"Delete the key “{key.name}”?",
            action=f"/access/ssh-keys/{key.id}/delete",
            verb="Delete key",
            back="/access/ssh-keys",
            points=(
                Consequence(icon="key", text="It can no longer be chosen for new launches."),
                Consequence(
                    icon="server-2", text="Workloads that were given it keep it until they end."
                ),
                Consequence(icon="arrow-back-up", text="You can add the same key again."),
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    id: str
    state: str
    what: str
    agent: str  # in full
    where: str
    seen: formats.Moment
    ends: str
    current: bool


def email_words(user: User) -> str:
    """Say which address a person has, and whether it counts."""
    if user.email is None:
        return "none given"
    return user.email if user.email_verified_at is not None else f"{user.email}, not confirmed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPage:
    """All that ``access/account.html`` may know."""

    username: str
    facts: tuple[Fact, ...]
    tenants: tuple[Fact, ...]
    sessions: tuple[SessionRow, ...]
    changed: bool  # the password, just now
    mailed: bool  # a link to a mail address, just now
    confirmed: bool  # a mail address, just now
    has_password: bool

    @classmethod
    def of(
        cls,
        me: Me,
        actor: Actor,
        sessions: Sequence[Session],
        *,
        now: datetime,
        zone: tzinfo,
        said: Collection[str] = (),
    ) -> "AccountPage":
        return cls(
            changed="changed" in said,
            mailed="mailed" in said,
            confirmed="confirmed" in said,
            has_password=me.user.password_hash is not None,
            username=me.user.username,
            facts=(
                Fact(label="Username", value=me.user.username),
                Fact(label="Mail", value=email_words(me.user)),
                Fact(label="Role", value=role_words(actor)),
                Fact(label="Member since", value=formats.day_time(me.user.created_at, zone)),
                Fact(label="Times are shown in", value=str(zone)),
            ),
            tenants=tuple(
                Fact(
                    label=mine.tenant.name,
                    value=f"{ROLE_NAMES[mine.role]} · {mine.tenant.kind}"
                    + (" · here now" if mine.tenant.id == actor.tenant_id else ""),
                )
                for mine in me.tenants
            ),
            sessions=tuple(_session(one, actor, now, zone) for one in sessions),
        )


_BROWSERS: Final = {
    "Edg": "Edge",
    "OPR": "Opera",
    "Firefox": "Firefox",
    "FxiOS": "Firefox",
    "CriOS": "Chrome",
    "Chrome": "Chrome",
    "Safari": "Safari",
}
_SYSTEMS: Final = {
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Android": "Android",
    "Windows": "Windows",
    "Macintosh": "macOS",
    "CrOS": "ChromeOS",
    "Linux": "Linux",
}


def agent_words(agent: str) -> str:
    """Return a browser's name and system, such as ``Chrome on Linux``, or what it said of itself.

    The order of the tables matters: browsers name those that they descend from after themselves.
    """
    browser = next((words for mark, words in _BROWSERS.items() if f"{mark}/" in agent), "")
    system = next((words for mark, words in _SYSTEMS.items() if mark in agent), "")
    return f"{browser} on {system}" if browser and system else browser or agent


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordPage:
    """All that ``access/password.html`` may know."""

    errors: tuple[FieldFault, ...]
    faults: Mapping[str, str]

    @classmethod
    def of(cls, errors: Sequence[FieldFault] = ()) -> "PasswordPage":
        return cls(errors=tuple(errors), faults={one.field: one.text for one in errors})


def _session(session: Session, actor: Actor, now: datetime, zone: tzinfo) -> SessionRow:
    current = session.id == actor.session_id
    agent = session.user_agent or "unknown program"
    browser = session.kind is SessionKind.BROWSER
    return SessionRow(
        id=session.id,
        state="current" if current else "active",
        what=agent_words(agent) if browser else f"API: {agent}",
        agent=agent,
        where=session.ip or formats.UNKNOWN,
        seen=formats.moment(session.last_seen_at, now, zone),
        ends=formats.short_time(session.ends_at, now, zone),
        current=current,
    )
