"""Audit trails for tests: rows as they are sealed, and the whole of them read again."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from gpucloud_core.audit.chain import Anchor, ChainHead, Unsealed, seal_rows
from gpucloud_core.audit.verify import ChainCheck, Verdict, link_of
from gpucloud_core.kernel.audit import AuditRow, audit_row
from gpucloud_core.kernel.unit import AuditFact
from row_builders import NOW, SECOND, fresh


def a_row(number: int = 0) -> AuditRow:
    """Return a row not sealed yet."""
    fact = AuditFact(
        action="key.add", target=f"key_{number}", actor="Zoë", changes={"name": [None, "Größe"]}
    )
    return audit_row(fresh("aud"), NOW + number * SECOND, fact)


def sealed(rows: Iterable[AuditRow], head: ChainHead | None = None) -> tuple[AuditRow, ...]:
    """Return the rows as one worker would seal them."""
    known = {row.id: row for row in rows}
    waiting = [Unsealed(row.id, row.content_hash) for row in known.values()]
    _, seals = seal_rows(head or ChainHead(), waiting, NOW)
    return tuple(
        replace(known[seal.id], seq=seal.seq, chain_hash=seal.chain_hash) for seal in seals
    )


def a_trail(length: int) -> tuple[AuditRow, ...]:
    return sealed(a_row(number) for number in range(length))


def end_of(rows: Sequence[AuditRow]) -> ChainHead:
    """Return the head of a trail whose last row is sealed."""
    assert rows[-1].seq is not None
    assert rows[-1].chain_hash is not None
    return ChainHead(seq=rows[-1].seq, chain_hash=rows[-1].chain_hash, sealed_at=NOW)


def anchor_at(row: AuditRow) -> Anchor:
    assert row.seq is not None
    assert row.chain_hash is not None
    return Anchor(seq=row.seq, chain_hash=row.chain_hash, at=NOW + timedelta(minutes=row.seq))


def verified(rows: Iterable[AuditRow], head: ChainHead | None = None, *anchors: Anchor) -> Verdict:
    """Verify rows as a database would give them."""
    check = ChainCheck(anchors)
    for row in sorted(rows, key=lambda row: (row.seq is None, row.seq or 0)):
        check.take(link_of(row))
    return check.finish(head)
