"""Checks of single values that cross to a node or come back from one.

Each check takes an untrusted JSON value and returns the domain's value, or raises ``Wrong`` with
half a sentence that says what is wrong. They are strict on purpose: a node is another machine,
perhaps a hostile one, and what we send it ends up in its files and command lines. The same checks
hold both ways, so that a value which passed once always passes again.
"""

import base64
import binascii
import hashlib
import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeVar

from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import AllocationId, ClaimId, parse_id
from gpucloud_core.nodes.model import NodeMode

T = TypeVar("T")

TEXT_MAX: Final = 500
KEY_LINE_MAX: Final = 8192
RSA_BITS_MIN: Final = 2048
RSA_BITS_MAX: Final = 16384
GENERATION_MAX: Final = 2**53 - 1  # every JSON reader keeps these exactly
MEMORY_MIB_MAX: Final = 64 * 1024 * 1024
PIDS_MAX: Final = 4_194_304  # the kernel's own limit
CPU_MAX: Final = 8191
PORT_MAX: Final = 65_535
SIZE_BYTES_MAX: Final = 1 << 60

SYSTEM_USERNAMES: Final = frozenset({"root", "daemon", "bin", "sys", "nobody", "sshd"})
"""Accounts that a slice has already; the customer's is another."""

_POINT_BYTES: Final = {
    "ecdsa-sha2-nistp256": 65,
    "ecdsa-sha2-nistp384": 97,
    "ecdsa-sha2-nistp521": 133,
    "sk-ecdsa-sha2-nistp256@openssh.com": 65,
}
KEY_TYPES: Final = frozenset(
    {"ssh-ed25519", "sk-ssh-ed25519@openssh.com", "ssh-rsa", *_POINT_BYTES},
)
HOST_KEY_TYPES: Final = frozenset(t for t in KEY_TYPES if not t.startswith("sk-"))


class Wrong(ValueError):
    """A value is not what it should be; the message is half a sentence about it."""


def escaped(text: str, limit: int = TEXT_MAX) -> str:
    """Return ``text`` with everything unprintable spelled out, at most ``limit`` characters.

    A node's words are shown to people: no terminal codes, line breaks, or reversed writing.
    """
    cut = text[:limit]
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in cut
    )[:limit]


def words(value: object) -> str:
    """Any text, made safe to show."""
    if not isinstance(value, str):
        raise Wrong("is not a text")
    return escaped(value)


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise Wrong("is not true or false")
    return value


def between(low: int, high: int) -> Callable[[object], int]:
    """Return the check of a whole number from ``low`` to ``high``, both included."""

    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Wrong("is not a whole number")
        if not low <= value <= high:
            raise Wrong(f"is not between {low} and {high}")
        return value

    return check


def matching(pattern: str, name: str) -> Callable[[object], str]:
    """Return the check of a text that is wholly ``pattern``; ``name`` says what it would be."""
    compiled = re.compile(pattern, re.ASCII)

    def check(value: object) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise Wrong(f"is not {name}")
        return value

    return check


def several(
    item: Callable[[object], T],
    most: int,
    *,
    distinct: bool = True,
) -> Callable[[object], tuple[T, ...]]:
    """Return the check of a list of at most ``most`` items, without a repeat if ``distinct``."""

    def check(value: object) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise Wrong("is not a list")
        if len(value) > most:
            raise Wrong(f"has more than {most} items")
        items = tuple(item(each) for each in value)
        if distinct and len(set(items)) != len(items):
            raise Wrong("names something twice")
        return items

    return check


def pair(
    first: Callable[[object], T],
    second: Callable[[object], object],
) -> Callable[[object], tuple[T, object]]:
    """Return the check of a list of exactly these two."""

    def check(value: object) -> tuple[T, object]:
        if not isinstance(value, list) or len(value) != 2:  # noqa: PLR2004  a pair
            raise Wrong("is not a pair")
        return first(value[0]), second(value[1])

    return check


def _identifier(prefix: str, value: object) -> str:
    if not isinstance(value, str):
        raise Wrong("is not a text")
    try:
        return parse_id(prefix, value)
    except NotFound as error:
        raise Wrong(f"is not an id that begins with {prefix}_") from error


def claim_id(value: object) -> ClaimId:
    return ClaimId(_identifier("clm", value))


def allocation_id(value: object) -> AllocationId:
    return AllocationId(_identifier("alc", value))


gpu_uuid = matching(
    r"(?:GPU-)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "the UUID of a GPU"
)
host_label = matching(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", "a host name of one label")
account = matching(r"[a-z_][a-z0-9_-]{0,31}", "the name of an account")
image = matching(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|[./:@](?=[A-Za-z0-9_-])){0,199}", "an image")
fingerprint = matching(r"SHA256:[A-Za-z0-9+/]{43}", "a SHA-256 fingerprint")
sha256 = matching(r"[0-9a-f]{64}", "a SHA-256 in hexadecimal")
version = matching(r"[0-9A-Za-z.+~-]{0,40}", "a version")
serial = matching(r"[0-9A-Za-z._:-]{1,64}", "a serial number")
disk_name = matching(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", "the name of a disk")
pci_address = matching(
    r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]", "the address of a PCI function"
)
method = matching(r"[a-z0-9](?:[a-z0-9_.+-]{0,63})", "the name of a method")
error_code = matching(r"[a-z][a-z0-9_]{0,63}", "an error code")
port = between(1, PORT_MAX)

_domain_name = matching(
    r"(?=.{1,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?",
    "an address or a host name",
)
_cpulist = matching(r"\d{1,4}(?:-\d{1,4})?(?:,\d{1,4}(?:-\d{1,4})?){0,1023}", "a list of CPUs")


def node_mode(value: object) -> NodeMode:
    """One of the ways in which a node hands its GPUs out."""
    try:
        return NodeMode(value)  # type: ignore[arg-type]  # whatever else it is, it is none of them
    except ValueError as error:
        raise Wrong("is not the mode of a node") from error


def username(value: object) -> str:
    """The account that a slice makes for its customer."""
    name = account(value)
    if name in SYSTEM_USERNAMES:
        raise Wrong("is the name of a system account")
    return name


def host(value: object) -> str:
    """An IP address in its usual spelling, or a host name."""
    if not isinstance(value, str):
        raise Wrong("is not a text")
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return _domain_name(value)
    if str(address) != value or "%" in value:
        raise Wrong("is an address in an unusual spelling")
    return value


def cidr(value: object) -> str:
    """A network in its usual spelling: no bits beyond the prefix, no zone."""
    if not isinstance(value, str):
        raise Wrong("is not a text")
    try:
        network = ipaddress.ip_network(value)
    except ValueError as error:
        raise Wrong("is not a network such as 203.0.113.0/24") from error
    if str(network) != value or "%" in value:
        raise Wrong(f"is an unusual spelling of {network}".replace("%", ""))
    return value


def cpulist(value: object) -> str:
    """CPU numbers as the kernel writes them, such as ``0-3,8``."""
    text = _cpulist(value)
    for part in text.split(","):
        low, _, high = part.partition("-")
        if not int(low) <= int(high or low) <= CPU_MAX:
            raise Wrong("is a list of CPUs with a range that cannot be")
    return text


def instant_or_none(value: object) -> datetime | None:
    return None if value is None else instant(value)


def instant(value: object) -> datetime:
    """An RFC 3339 time with its offset, as aware UTC."""
    if not isinstance(value, str) or len(value) > 40:  # noqa: PLR2004  longer is no time
        raise Wrong("is not a time")
    try:
        parsed = datetime.fromisoformat(value)
        if parsed.tzinfo is None:
            raise Wrong("is a time without its offset")
        return parsed.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Wrong("is not a time with its offset, as RFC 3339 writes it") from error


class PublicKey(NamedTuple):
    """One OpenSSH public key: its type and its encoded blob. The comment is not kept."""

    kind: str
    blob: str

    @property
    def line(self) -> str:
        return f"{self.kind} {self.blob}"

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(base64.b64decode(self.blob)).digest()
        return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def public_key(value: object) -> PublicKey:
    """Parse one line ``type base64 [comment]``: no options, nothing left over, no weak RSA.

    Source: RFC 4253 section 6.6, RFC 5656 section 3.1, RFC 8709 section 4, OpenSSH PROTOCOL.u2f.
    """
    if not isinstance(value, str) or len(value) > KEY_LINE_MAX:
        raise Wrong("is not a public key line")
    if not value.isprintable():
        raise Wrong("is a public key line with a line break or control character in it")
    kind, _, rest = value.partition(" ")
    text = rest.partition(" ")[0]
    if kind not in KEY_TYPES:
        raise Wrong("is not a public key of a type we take (Ed25519, ECDSA, RSA), or has options")
    try:
        blob = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Wrong("is a public key that is not base64") from error
    if base64.b64encode(blob).decode() != text:
        raise Wrong("is a public key in unusual base64")
    _check_blob(kind, blob)
    return PublicKey(kind, text)


def key_line(value: object) -> str:
    """A public key as ``type base64``, its comment left out."""
    return public_key(value).line


def host_key(value: object) -> str:
    """A server's public key as ``type base64``."""
    key = public_key(value)
    if key.kind not in HOST_KEY_TYPES:
        raise Wrong("is not a key that a server can have")
    return key.line


def _check_blob(kind: str, blob: bytes) -> None:
    parts: list[bytes] = []
    at = 0
    while at < len(blob):
        size = int.from_bytes(blob[at : at + 4])
        if at + 4 + size > len(blob):
            raise Wrong("is a public key cut short")
        parts.append(blob[at + 4 : at + 4 + size])
        at += 4 + size
    if not parts or parts[0] != kind.encode():
        raise Wrong("is a public key whose type is not what it says")
    if not _fits(kind, parts[1:]):
        raise Wrong(f"is not a well-formed {kind} key")


def _fits(kind: str, parts: list[bytes]) -> bool:
    if kind.startswith("sk-"):  # a hardware key also names the application it is for
        if not parts or not parts[-1].startswith(b"ssh:"):
            return False
        parts = parts[:-1]
    if kind.endswith("ssh-ed25519") or kind == "sk-ssh-ed25519@openssh.com":
        return len(parts) == 1 and len(parts[0]) == 32  # noqa: PLR2004  bytes of the key
    if kind == "ssh-rsa":
        return len(parts) == 2 and _is_strong_rsa(*parts)  # noqa: PLR2004  exponent, modulus
    curve = kind.removeprefix("sk-").removeprefix("ecdsa-sha2-").removesuffix("@openssh.com")
    return (
        len(parts) == 2  # noqa: PLR2004  the curve's name, and the point
        and parts[0] == curve.encode()
        and len(parts[1]) == _POINT_BYTES[kind]
        and parts[1][0] == 4  # noqa: PLR2004  an uncompressed point
    )


def _is_strong_rsa(exponent: bytes, modulus: bytes) -> bool:
    numbers = [int.from_bytes(part, signed=True) for part in (exponent, modulus)]
    return (
        numbers[0] > 2  # noqa: PLR2004  1 and 2 are no exponents
        and numbers[0] % 2 == 1
        and RSA_BITS_MIN <= numbers[1].bit_length() <= RSA_BITS_MAX
        and numbers[1] > 0
    )


Check = Callable[[object], object]


def fields(checks: Mapping[str, Check], document: object, *, exact: bool) -> dict[str, object]:
    """Return the checked fields of a JSON object; ``exact`` refuses any other.

    Raises:
        Wrong: a field is missing, unknown, or not what it should be; named in the message.
    """
    if not isinstance(document, dict):
        raise Wrong("is not an object")
    if missing := checks.keys() - document.keys():
        raise Wrong(f"lacks {', '.join(sorted(missing))}")
    if exact and (extra := document.keys() - checks.keys()):
        raise Wrong(f"has unknown fields: {escaped(', '.join(sorted(extra)), 100)}")
    checked: dict[str, object] = {}
    for name, check in checks.items():
        try:
            checked[name] = check(document[name])
        except Wrong as error:
            raise Wrong(f"{name} {error}") from error
    return checked
