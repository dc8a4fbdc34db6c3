"""Finds the first audit row that is not what it was, and says what happened to it.

Rows come in the order of the chain and are looked at once, so that any number of them can be
verified in little memory. Three things are computed again: what each row holds, how it follows
from the row before, and whether the chain runs through every anchor kept outside the database.
Whoever can write the database can make a new chain that is right in itself; only anchors tell.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from gpucloud_core.audit.chain import HEAD, NOTHING, Anchor, ChainHead, chain_hash
from gpucloud_core.kernel.audit import FACTS, AuditRow, content_hash

WINDOW: Final = 1000
"""How many rows after the first bad one are looked at to say what happened to it."""


class Tampering(StrEnum):
    EDITED = "edited"  # what a row holds was changed
    DELETED = "deleted"  # rows between two others are gone
    INSERTED = "inserted"  # a row stands in the chain that was never sealed there
    MOVED = "moved"  # a row stands at another's place
    TRUNCATED = "truncated"  # the chain was longer
    REPLACED = "replaced"  # the chain is another than the one that was anchored


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The first bad place: what was done, at which place of the chain, to which row."""

    what: Tampering
    seq: int | None
    row_id: str | None
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was looked at, and the first fault; None means that all of it is right.

    Attributes:
        sealed: rows with a place in the chain.
        unsealed: rows recorded, but not chained yet; a moment's worth of them is normal.
        anchored: the highest place that an anchor vouches for; 0 without anchors.
    """

    sealed: int
    unsealed: int
    anchored: int
    fault: Fault | None


class Link(NamedTuple):
    """A stored row, reduced to what the chain is about; ``true_hash`` is computed from the row."""

    id: str
    seq: int | None
    content_hash: str
    chain_hash: str | None
    true_hash: str


def link_of(row: AuditRow) -> Link:
    """Return the link of a row, with the hash of what it really holds."""
    true_hash = content_hash(row.id, row.at, {name: getattr(row, name) for name in FACTS})
    return Link(row.id, row.seq, row.content_hash, row.chain_hash, true_hash)


@dataclass(slots=True)
class ChainCheck:
    """Give it every row with ``take``, sealed ones by ``seq`` and then the others; ``finish``."""

    anchors: Iterable[Anchor] = ()
    sealed: int = 0
    unsealed: int = 0
    _anchored: dict[int, set[str]] = field(default_factory=dict)
    _seq: int = 0
    _previous: str = NOTHING
    _matched: int = 0
    _fault: Fault | None = None
    _suspect: Link | None = None
    _after: list[Link] = field(default_factory=list)

    def __post_init__(self) -> None:
        for anchor in self.anchors:
            self._anchored.setdefault(anchor.seq, set()).add(anchor.chain_hash)

    def take(self, link: Link) -> None:
        """Look at the next row."""
        if link.seq is None:
            self.unsealed += 1
            if self._is_good and link.true_hash != link.content_hash:
                self._fault = _edited(link)
            return
        self.sealed += 1
        if self._suspect is not None:
            if len(self._after) < WINDOW:
                self._after.append(link)
        elif self._fault is None:
            self._follow(link, link.seq)

    def finish(self, head: ChainHead | None = None) -> Verdict:
        """Return the verdict after the last row; ``head`` is what the database calls the end."""
        if self._suspect is not None:
            self._fault = _diagnose(self._previous, self._seq + 1, self._suspect, self._after, head)
        elif self._is_good:
            self._fault = self._end_fault(head)
        anchored = max(self._anchored, default=0)
        return Verdict(
            sealed=self.sealed, unsealed=self.unsealed, anchored=anchored, fault=self._fault
        )

    @property
    def _is_good(self) -> bool:
        return self._fault is None and self._suspect is None

    def _follow(self, link: Link, seq: int) -> None:
        expected = self._seq + 1
        if seq > expected:
            self._fault = _deleted(expected, seq - 1, link)
        elif seq < expected:
            self._fault = _fault(Tampering.INSERTED, link, "a second row stands at this place")
        elif link.true_hash != link.content_hash:
            self._fault = _edited(link)
        elif chain_hash(self._previous, link.content_hash, seq) != link.chain_hash:
            self._suspect = link
        elif not self._anchored.get(seq, {link.chain_hash}) <= {link.chain_hash}:
            words = f"the chain is not the one anchored here; it was right up to {self._matched}"
            self._fault = _fault(Tampering.REPLACED, link, words)
        else:
            self._seq, self._previous = seq, link.chain_hash
            if seq in self._anchored:
                self._matched = seq

    def _end_fault(self, head: ChainHead | None) -> Fault | None:
        known = max((*self._anchored, head.seq if head else 0))
        if known > self._seq:
            said = "an anchor" if known in self._anchored else "the chain's head"
            words = f"{said} knows {known} rows; those after {self._seq} are gone"
            return Fault(what=Tampering.TRUNCATED, seq=self._seq + 1, row_id=None, words=words)
        if head is not None and (head.seq, head.chain_hash) != (self._seq, self._previous):
            words = f"the chain's head stands at {head.seq} with another hash"
            return Fault(what=Tampering.REPLACED, seq=self._seq, row_id=HEAD, words=words)
        return None


def _fault(what: Tampering, link: Link, words: str) -> Fault:
    return Fault(what=what, seq=link.seq, row_id=link.id, words=words)


def _edited(link: Link) -> Fault:
    return _fault(Tampering.EDITED, link, "it does not hold what its content hash was made of")


def _deleted(first: int, last: int, link: Link) -> Fault:
    gone = f"row {first} is" if first == last else f"rows {first} to {last} are"
    return Fault(
        what=Tampering.DELETED, seq=first, row_id=link.id, words=f"{gone} gone before this one"
    )


def _diagnose(
    previous: str, seq: int, bad: Link, after: Sequence[Link], head: ChainHead | None
) -> Fault:
    """Say why ``bad`` does not follow from ``previous`` at ``seq``, from the rows after it."""
    if displaced := _displaced(previous, seq, bad, after):
        return displaced
    if _is_original(bad, after, head, seq):
        words = "what it holds was changed together with its content hash"
        return _fault(Tampering.EDITED, bad, words)
    if gone := _renumbered(bad, after):
        words = f"{gone} rows are gone before this one, and the rest was renumbered"
        return _fault(Tampering.DELETED, bad, words)
    if not after:
        return _fault(Tampering.INSERTED, bad, "it was never sealed at this place")
    return _fault(Tampering.REPLACED, bad, "neither it nor what comes after continues the chain")


def _displaced(previous: str, seq: int, bad: Link, after: Sequence[Link]) -> Fault | None:
    """Return the fault if a later row is the one that belongs at ``seq``."""
    if any(chain_hash(previous, row.content_hash, seq) == bad.chain_hash for row in after):
        return _fault(Tampering.MOVED, bad, "what it holds belongs to another place")
    if not any(_fits(previous, row, seq) for row in after):
        return None
    if _fits_later(previous, seq, bad, after):
        return _fault(Tampering.MOVED, bad, "it belongs to a later place")
    return _fault(Tampering.INSERTED, bad, "the row after it follows from the one before it")


def _fits(previous: str | None, row: Link, seq: int) -> bool:
    return previous is not None and chain_hash(previous, row.content_hash, seq) == row.chain_hash


def _fits_later(previous: str | None, seq: int, bad: Link, after: Sequence[Link]) -> bool:
    """Tell whether ``bad`` has a rightful place further on, leaving it out at first."""
    for row in after:
        if not _fits(previous, row, seq):
            continue
        previous, seq = row.chain_hash, seq + 1
        if _fits(previous, bad, seq):
            return True
    # Two rows that changed numbers: what lies between follows from the one that is not here.
    return any(_fits(row.chain_hash, bad, (row.seq or 0) + 1) for row in after)


def _is_original(bad: Link, after: Sequence[Link], head: ChainHead | None, seq: int) -> bool:
    """Tell whether the chain goes on from ``bad`` as if nothing had happened to it."""
    if after:
        return _fits(bad.chain_hash, after[0], seq + 1)
    return head is not None and head.chain_hash == bad.chain_hash


def _renumbered(bad: Link, after: Sequence[Link]) -> int:
    """Return by how many places the rest of the chain was moved up; 0 if it was not."""
    if not after or bad.chain_hash is None:
        return 0
    place = after[0].seq or 0
    shifts = (k for k in range(1, WINDOW) if _fits(bad.chain_hash, after[0], place + k))
    return next(shifts, 0)
