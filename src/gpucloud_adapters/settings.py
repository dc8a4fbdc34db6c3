"""Settings: read once from a mapping, checked together, frozen.

Only this module knows the names of environment variables, and only the command line hands the
environment to it. Every fault is reported at once, each as a sentence that says what to do; a
variable with our prefix that nobody knows is a fault too, as it is usually a misspelt one.
"""

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import SplitResult, urlsplit

from gpucloud_adapters.image_places import NOWHERE, NoPlace, Places

PREFIX: Final = "GPUCLOUD_"
DEFAULT_PORT: Final = 8000


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable: its name, what holds without it, and what it is for."""

    name: str
    default: str
    meaning: str


VARIABLES: Final = (
    Variable("DATABASE_URL", "embedded under `up`", "PostgreSQL 18, as postgresql://…"),
    Variable("REDIS_URL", "embedded under `up`", "Redis 7 or Valkey, as redis://…"),
    Variable("STRIPE_SECRET_KEY", "simulated under `up`", "Secret key of the Stripe account"),
    Variable("STRIPE_WEBHOOK_SECRET", "simulated under `up`", "Signing secret of its webhooks"),
    Variable("STRIPE_API_BASE", "Stripe's own", "Address of a Stripe-shaped server"),
    Variable("GPUCLOUD_HOME", "~/.gpucloud", "Folder of keys, embedded data and logs"),
    Variable("GPUCLOUD_HOST", "127.0.0.1", "Address the web server listens on"),
    Variable("GPUCLOUD_PORT", str(DEFAULT_PORT), "Port the web server listens on"),
    Variable("GPUCLOUD_PUBLIC_URL", "http://HOST:PORT", "Address people reach it at"),
    Variable("GPUCLOUD_SIMULATED", "0; `up` sets it", "1: payments or GPUs are simulated"),
    Variable(
        "SMTP_URL",
        "mails are written to HOME/mail",
        "Mail server, as smtp://user:password@host:587 (STARTTLS) or smtps://… (TLS)",
    ),
    Variable("MAIL_FROM", "gpucloud@ the public URL's host", "Address that mails come from"),
    Variable(
        "GPUCLOUD_METRICS_URL",
        "the simulated fleet's own sampler",
        "Base URL of a Prometheus-compatible API with DCGM's metrics",
    ),
    Variable(
        "GPUCLOUD_IMAGE_SOURCES",
        "none: no image is read",
        "Origins that images are verified from, such as https://registry.example, by commas",
    ),
    Variable(
        "GPUCLOUD_IMAGE_NETWORKS",
        "public addresses alone",
        "Networks those may also lie in, such as 10.4.0.0/16, by commas",
    ),
    Variable(
        "GPUCLOUD_ALLOW_INSECURE_HOST",
        "0",
        "1: serve plain HTTP on an address that is not loopback",
    ),
)
"""Every variable; the reference page is printed from it."""


def reference() -> str:
    """Return the reference page of the settings, as Markdown."""
    rows = "\n".join(f"| `{each.name}` | {each.default} | {each.meaning} |" for each in VARIABLES)
    return (
        "# Settings\n\n"
        "Read once, from the environment, when a process starts; all faults are said together.\n"
        f"A variable that begins with `{PREFIX}` and is not listed here is an error.\n\n"
        f"| variable | without it | what it is |\n|---|---|---|\n{rows}\n"
    )


class Secret:
    """A string that shows itself only when asked by name."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(hidden)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not serialised")


class SettingsInvalid(Exception):
    """The environment does not say what is needed; ``faults`` holds every reason."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        self.faults = faults
        super().__init__(" ".join(faults))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What web and workers run on.

    Attributes:
        simulated: payments or GPUs are not real; every page says so.
        stripe_api_base: where Stripe answers; None is Stripe itself.
        public_url: origin under which people reach us, without a slash at its end.
        metrics_url: where metrics are; None asks the simulated fleet's own sampler.
        image_places: from where images may be read.
        smtp_url: where mails are handed over; None writes them into a folder of ``home``.
        mail_from: whom mails come from.
    """

    database_url: Secret
    redis_url: Secret
    stripe_secret_key: Secret
    stripe_webhook_secret: Secret
    stripe_api_base: str | None
    home: Path
    host: str
    port: int
    public_url: str
    simulated: bool
    metrics_url: str | None = None
    image_places: Places = NOWHERE
    smtp_url: Secret | None = None
    mail_from: str = "gpucloud@localhost"

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Settings":
        """Read all that ``gpucloud web`` and ``gpucloud worker`` need.

        Raises:
            SettingsInvalid: something is missing, malformed or unsafe.
        """
        reader = _Reader(environment)
        host, port, public_url = reader.address()
        settings = cls(
            database_url=reader.required("DATABASE_URL", "where PostgreSQL is"),
            redis_url=reader.required("REDIS_URL", "where Redis or Valkey is"),
            stripe_secret_key=reader.required("STRIPE_SECRET_KEY", _NO_PAYMENTS),
            stripe_webhook_secret=reader.required("STRIPE_WEBHOOK_SECRET", _NO_PAYMENTS),
            stripe_api_base=reader.text("STRIPE_API_BASE") or None,
            home=reader.home(),
            host=host,
            port=port,
            public_url=public_url,
            simulated=reader.flag("GPUCLOUD_SIMULATED"),
            metrics_url=reader.text("GPUCLOUD_METRICS_URL").rstrip("/") or None,
            image_places=reader.image_places(),
            smtp_url=reader.optional("SMTP_URL"),
            mail_from=reader.mail_from(public_url),
        )
        reader.check_urls()
        reader.check_payments(simulated=settings.simulated)
        reader.finish()
        return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class UpSettings:
    """What ``gpucloud up`` reads: what is absent here, it brings itself.

    Attributes:
        port_chosen: the port was asked for by name, so no other will do.
        public_url: None unless asked for by name.
        insecure_host: plain HTTP beyond this machine was asked for by name.
    """

    database_url: Secret | None
    redis_url: Secret | None
    stripe_secret_key: Secret | None
    stripe_webhook_secret: Secret | None
    home: Path
    host: str
    port: int
    port_chosen: bool
    public_url: str | None
    insecure_host: bool

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "UpSettings":
        """Read what replaces the embedded parts.

        Raises:
            SettingsInvalid: something is malformed, unsafe, or half given.
        """
        reader = _Reader(environment)
        host, port, public_url = reader.address()
        settings = cls(
            database_url=reader.optional("DATABASE_URL"),
            redis_url=reader.optional("REDIS_URL"),
            stripe_secret_key=reader.optional("STRIPE_SECRET_KEY"),
            stripe_webhook_secret=reader.optional("STRIPE_WEBHOOK_SECRET"),
            home=reader.home(),
            host=host,
            port=port,
            port_chosen=bool(reader.text("GPUCLOUD_PORT")),
            public_url=public_url if reader.text("GPUCLOUD_PUBLIC_URL") else None,
            insecure_host=reader.flag("GPUCLOUD_ALLOW_INSECURE_HOST"),
        )
        reader.check_urls()
        if (settings.stripe_secret_key is None) != (settings.stripe_webhook_secret is None):
            reader.fault(
                "Set STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET together, or neither to have "
                "payments simulated."
            )
        reader.check_payments(simulated=True)
        reader.finish()
        return settings


def database_url(environment: Mapping[str, str]) -> Secret:
    """Read the one setting that ``gpucloud migrate`` needs.

    Raises:
        SettingsInvalid: it is absent or no address of a PostgreSQL database.
    """
    reader = _Reader(environment)
    url = reader.required("DATABASE_URL", "which database to migrate")
    reader.check_urls()
    reader.finish()
    return url


def home(environment: Mapping[str, str]) -> Path:
    """Read where keys and anchors lie.

    Raises:
        SettingsInvalid: it is not a folder's absolute path.
    """
    reader = _Reader(environment)
    folder = reader.home()
    reader.finish()
    return folder


_NO_PAYMENTS: Final = "without it nobody can pay; `gpucloud up` simulates payments"
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"", "0", "false", "no", "off"})
_SCHEMES: Final = {
    "DATABASE_URL": ("postgresql", "postgres"),
    "REDIS_URL": ("redis", "rediss", "valkey"),
    "STRIPE_API_BASE": ("http", "https"),
    "GPUCLOUD_METRICS_URL": ("http", "https"),
    "SMTP_URL": ("smtp", "smtps"),
}


class _Reader:
    """Reads variables one by one and remembers everything that is wrong with them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        known = {variable.name for variable in VARIABLES}
        self._faults = [
            f"{name} is not a setting; the known ones are in docs/reference/settings.md."
            for name in sorted(environment)
            if name.startswith(PREFIX) and name not in known
        ]

    def text(self, name: str) -> str:
        return self._environment.get(name, "").strip()

    def optional(self, name: str) -> Secret | None:
        return Secret(text) if (text := self.text(name)) else None

    def required(self, name: str, why: str) -> Secret:
        if not (text := self.text(name)):
            self.fault(f"Set {name}: {why}.")
        return Secret(text)

    def flag(self, name: str) -> bool:
        text = self.text(name).lower()
        if text not in _TRUE | _FALSE:
            self.fault(f"{name} is 1 or 0, not {text!r}.")
        return text in _TRUE

    def home(self) -> Path:
        home = Path(self.text("GPUCLOUD_HOME") or "~/.gpucloud")
        if "\0" in str(home):
            self.fault("GPUCLOUD_HOME is a path, and has no NUL in it.")
            return Path("/")
        try:
            home = home.expanduser()
        except RuntimeError:
            self.fault("Set GPUCLOUD_HOME: this account has no home folder.")
        if not home.is_absolute():
            self.fault(f"GPUCLOUD_HOME is an absolute path, not {str(home)!r}.")
        return home

    def address(self) -> tuple[str, int, str]:
        """Return host, port and public URL; plain HTTP beyond this machine has to be asked for."""
        host = self.text("GPUCLOUD_HOST") or "127.0.0.1"
        port = self._port(self.text("GPUCLOUD_PORT") or str(DEFAULT_PORT))
        allowed = self.flag("GPUCLOUD_ALLOW_INSECURE_HOST")
        if not allowed and not _is_loopback(host):
            self.fault(
                f"GPUCLOUD_HOST={host} is not loopback, and this server speaks plain HTTP: "
                "browsers would drop the session cookie and others could read along. Put a TLS "
                "proxy in front, or set GPUCLOUD_ALLOW_INSECURE_HOST=1."
            )
        if public := self.text("GPUCLOUD_PUBLIC_URL").rstrip("/"):
            self._check_public_url(public, allowed=allowed)
            return host, port, public
        return host, port, f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def image_places(self) -> Places:
        try:
            return Places.declared(
                self._listed("GPUCLOUD_IMAGE_SOURCES"), self._listed("GPUCLOUD_IMAGE_NETWORKS")
            )
        except NoPlace as error:
            self.fault(f"GPUCLOUD_IMAGE_SOURCES and GPUCLOUD_IMAGE_NETWORKS: {error}.")
            return NOWHERE

    def mail_from(self, public_url: str) -> str:
        host = _split(public_url).hostname or "localhost"
        sender = self.text("MAIL_FROM") or f"gpucloud@{host}"
        if "@" not in sender or not sender.isprintable():
            self.fault("MAIL_FROM is an address, such as gpucloud <no-reply@gpus.example.org>.")
        return sender

    def _listed(self, name: str) -> list[str]:
        return [part.strip() for part in self.text(name).split(",") if part.strip()]

    def check_urls(self) -> None:
        for name, schemes in _SCHEMES.items():
            parts = _split(self.text(name))
            if self.text(name) and (parts.scheme not in schemes or not parts.hostname):
                self.fault(f"{name} begins with {schemes[0]}:// and names a host.")

    def check_payments(self, *, simulated: bool) -> None:
        if simulated and "_live_" in self.text("STRIPE_SECRET_KEY"):
            self.fault(
                "STRIPE_SECRET_KEY is a live key, and the GPUs here are simulated: nobody should "
                "pay for those. Use a test key."
            )

    def fault(self, sentence: str) -> None:
        self._faults.append(sentence)

    def finish(self) -> None:
        if self._faults:
            raise SettingsInvalid(tuple(dict.fromkeys(self._faults)))

    def _check_public_url(self, public: str, *, allowed: bool) -> None:
        parts = _split(public)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path or parts.query:
            self.fault("GPUCLOUD_PUBLIC_URL is an origin, such as https://gpus.example.org.")
        elif parts.scheme == "http" and not allowed and not _is_loopback(parts.hostname):
            self.fault("GPUCLOUD_PUBLIC_URL begins with https:// unless it is on loopback.")

    def _port(self, text: str) -> int:
        if text.isdecimal() and 0 < int(text) < 1 << 16:
            return int(text)
        self.fault(f"GPUCLOUD_PORT is a number from 1 to 65535, not {text!r}.")
        return DEFAULT_PORT


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # such as a bracket that is not closed
        return urlsplit("")


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
