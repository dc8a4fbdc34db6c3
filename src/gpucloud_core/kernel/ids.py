"""Object ids: a prefix that tells the kind, and a UUIDv7 in Crockford's base 32.

Ids sort by the time they were made. They are plain strings with a type of their own, so that
storing and sending them needs no conversion and mixing kinds up fails the type check.
Source: RFC 9562 section 5.7 (UUIDv7), read 2026-11-22.
"""

from typing import Final, NewType, Protocol

from gpucloud_core.kernel.errors import NotFound

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH: Final = 26  # 128 bits in groups of five

TenantId = NewType("TenantId", str)
ProjectId = NewType("ProjectId", str)
UserId = NewType("UserId", str)
SessionId = NewType("SessionId", str)
SshKeyId = NewType("SshKeyId", str)
SkuId = NewType("SkuId", str)
ImageId = NewType("ImageId", str)
NodeId = NewType("NodeId", str)
SlotId = NewType("SlotId", str)
ClaimId = NewType("ClaimId", str)
AllocationId = NewType("AllocationId", str)
TaskId = NewType("TaskId", str)
PaymentId = NewType("PaymentId", str)
WaitlistId = NewType("WaitlistId", str)

PREFIXES: Final = {
    "ten": "tenant",
    "prj": "project",
    "usr": "user",
    "ses": "session",
    "key": "SSH key",
    "img": "image",
    "nod": "node",
    "slt": "slot",
    "clm": "claim",
    "alc": "allocation",
    "tsk": "task",
    "pay": "payment session",
    "vis": "visit to the payment provider's portal",
    "hld": "hold",
    "trf": "ledger transfer",
    "seg": "usage segment",
    "evt": "event",
    "aud": "audit row",
    "not": "inbox notice",
    "att": "attention row",
    "wtl": "waitlist entry",
    "v": "saved view",
    "mal": "mail",
}
"""What each prefix stands for; the glossary page is printed from it."""


class Ids(Protocol):
    """Makes new ids. Unique across processes, and increasing in time within one."""

    def new(self, prefix: str) -> str: ...


def uuid7(milliseconds: int, randomness: bytes) -> int:
    """Return the UUIDv7 of a Unix time in milliseconds and ten random bytes, as an integer."""
    if not 0 <= milliseconds < 1 << 48 or len(randomness) != 10:  # noqa: PLR2004  RFC field widths
        raise ValueError("a UUIDv7 takes a 48-bit time and ten random bytes")
    noise = int.from_bytes(randomness)
    high = noise >> 62 & 0xFFF
    low = noise & (1 << 62) - 1
    return milliseconds << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low


def entity_id(prefix: str, number: int) -> str:
    """Return ``prefix_`` and ``number`` (128 bits) in 26 characters that sort like the number."""
    digits = (_ALPHABET[number >> shift & 31] for shift in range((_LENGTH - 1) * 5, -1, -5))
    return f"{prefix}_{''.join(digits)}"


def parse_id(prefix: str, text: str) -> str:
    """Return ``text`` if it can be an id of this kind.

    Raises:
        NotFound: it cannot; nothing of that name ever existed.
    """
    head, _, tail = text.partition("_")
    if head != prefix or len(tail) != _LENGTH or not set(tail) <= set(_ALPHABET):
        raise NotFound(f"There is no {PREFIXES.get(prefix, 'object')} with this id.")
    return text
