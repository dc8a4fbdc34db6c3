"""How one audit row binds the next: pure, and simple enough to compute again by hand.

A row's ``content_hash`` says what it holds, its ``chain_hash`` where it stands:
``sha256(previous || content_hash || seq)``, all as ASCII text, hashes in hexadecimal, the number in
decimal. Nothing else is secret or needed, so that whoever has an export can check all of it.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from gpucloud_core.kernel.errors import ValidationFailed
from gpucloud_core.kernel.time import EPOCH, rfc3339

HEAD: Final = "audit"
NOTHING: Final = "0" * 64
"""What the first row is chained to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainHead:
    """The last place taken in the chain. There is one row of it; whoever seals holds its lock."""

    id: str = HEAD
    seq: int = 0
    chain_hash: str = NOTHING
    sealed_at: datetime = EPOCH


class Unsealed(NamedTuple):
    """A committed row that has no place yet."""

    id: str
    content_hash: str


class Seal(NamedTuple):
    """The place that a row takes."""

    id: str
    seq: int
    chain_hash: str


def chain_hash(previous: str, content_hash: str, seq: int) -> str:
    """Return what binds the row at ``seq`` to all rows before it, in hexadecimal."""
    return hashlib.sha256(f"{previous}{content_hash}{seq}".encode("ascii")).hexdigest()


def seal_rows(
    head: ChainHead, rows: Iterable[Unsealed], at: datetime
) -> tuple[ChainHead, tuple[Seal, ...]]:
    """Give each row the next place, in the order given; return the new head and the seals."""
    seq, previous = head.seq, head.chain_hash
    seals: list[Seal] = []
    for row in rows:
        seq += 1
        previous = chain_hash(previous, row.content_hash, seq)
        seals.append(Seal(row.id, seq, previous))
    if not seals:
        return head, ()
    moved = ChainHead(id=head.id, seq=seq, chain_hash=previous, sealed_at=max(at, head.sealed_at))
    return moved, tuple(seals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """Where the chain stood at an instant, kept where the database cannot reach it."""

    seq: int
    chain_hash: str
    at: datetime


def anchor_line(anchor: Anchor) -> str:
    """Return the anchor as one line of JSON, without its end."""
    content = {"seq": anchor.seq, "chain_hash": anchor.chain_hash, "at": rfc3339(anchor.at)}
    return json.dumps(content, separators=(",", ":"))


def read_anchor(line: str) -> Anchor | None:
    """Return the anchor that a line holds; None if the line was never written whole.

    Raises:
        ValidationFailed: it is whole and holds something else.
    """
    try:
        content = json.loads(line)
    except ValueError:
        return None
    try:
        at = datetime.fromisoformat(content["at"])
        anchor = Anchor(seq=int(content["seq"]), chain_hash=str(content["chain_hash"]), at=at)
    except (ValueError, KeyError, TypeError):
        raise ValidationFailed("This line is not an anchor of the audit chain.") from None
    if at.tzinfo is None or anchor.seq < 0 or len(anchor.chain_hash) != len(NOTHING):
        raise ValidationFailed("This line is not an anchor of the audit chain.")
    return anchor


def read_anchors(lines: Iterable[str]) -> tuple[Anchor, ...]:
    """Return the anchors of a file; lines that a crash cut off are passed over.

    Raises:
        ValidationFailed: a line is whole and holds something else; its number is said.
    """
    anchors: list[Anchor] = []
    for number, line in enumerate(lines, start=1):
        try:
            anchor = read_anchor(line)
        except ValidationFailed as bad:
            raise ValidationFailed(f"Line {number}: {bad.detail}") from None
        if anchor is not None:
            anchors.append(anchor)
    return tuple(anchors)


def has_lost(head: ChainHead, last: Anchor | None) -> bool:
    """Tell whether the chain went back behind, or away from, what was anchored last."""
    if last is None or head.seq > last.seq:
        return False
    return (head.seq, head.chain_hash) != (last.seq, last.chain_hash)
