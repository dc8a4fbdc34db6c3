"""Rows are sealed behind their writers, once, and the head is carried out when it moved."""

import pytest

from audit_builders import verified
from gpucloud_adapters.memory.anchors import MemoryAnchors
from gpucloud_adapters.memory.unit import MemoryTransactions
from gpucloud_adapters.stored.invariants import InvariantError
from gpucloud_core.audit.chain import HEAD, Anchor, ChainHead, anchor_line, read_anchors
from gpucloud_core.audit.seal import AnchorAudit, SealAudit
from gpucloud_core.kernel.errors import ValidationFailed
from gpucloud_core.kernel.unit import AuditFact, Scope
from row_builders import NOW, FixedClock

PLATFORM = Scope.platform()


@pytest.fixture
def transactions() -> MemoryTransactions:
    return MemoryTransactions(FixedClock())


@pytest.fixture
def anchors() -> MemoryAnchors:
    return MemoryAnchors()


async def record(transactions: MemoryTransactions, *targets: str) -> None:
    for target in targets:
        async with transactions.begin(PLATFORM) as unit:
            await unit.audit(AuditFact(action="x", target=target))


class TestSealAudit:
    async def test_chains_rows_in_the_order_they_were_recorded(
        self, transactions: MemoryTransactions
    ) -> None:
        seal = SealAudit(transactions=transactions)
        await record(transactions, "a", "b", "c")

        assert [await seal(limit=2), await seal(limit=2), await seal(limit=2)] == [2, 1, 0]

        rows = transactions.database.audit_rows
        assert [(row.target, row.seq) for row in rows] == [("a", 1), ("b", 2), ("c", 3)]
        async with transactions.begin(PLATFORM) as unit:
            head = await unit.audit_chain.get(HEAD)
        assert verified(rows, head).fault is None

    async def test_lets_nobody_change_a_row(self, transactions: MemoryTransactions) -> None:
        await record(transactions, "a")
        (row,) = transactions.database.audit_rows

        for act in ("put", "delete"):
            with pytest.raises(InvariantError):
                async with transactions.begin(PLATFORM) as unit:
                    await getattr(unit.audit_rows, act)(row if act == "put" else row.id)


class TestAnchorAudit:
    async def test_keeps_the_head_only_when_it_moved(
        self, transactions: MemoryTransactions, anchors: MemoryAnchors
    ) -> None:
        seal = SealAudit(transactions=transactions)
        anchor = AnchorAudit(transactions=transactions, anchors=anchors)

        await anchor()
        for targets in (("a",), (), ("b", "c")):
            await record(transactions, *targets)
            await seal()
            await anchor()
            await anchor()

        assert [kept.seq for kept in anchors.kept] == [1, 3]
        assert verified(transactions.database.audit_rows, None, *anchors.kept).fault is None

    async def test_says_once_that_the_chain_lost_what_was_anchored(
        self, transactions: MemoryTransactions, anchors: MemoryAnchors
    ) -> None:
        anchor = AnchorAudit(transactions=transactions, anchors=anchors)
        await anchors.keep(Anchor(seq=7, chain_hash="a" * 64, at=NOW))

        await anchor()
        await anchor()

        said = [stored.event for stored in transactions.database.outbox]
        assert [event.kind for event in said] == ["audit.chain_lost"]
        assert said[0].payload == {"anchored": 7, "found": 0}
        assert [kept.seq for kept in anchors.kept] == [7, 0]


class TestAnchorLines:
    ANCHOR = Anchor(seq=1, chain_hash="a" * 64, at=NOW)

    def test_are_read_again(self) -> None:
        assert read_anchors([anchor_line(self.ANCHOR) + "\n"] * 2) == (self.ANCHOR,) * 2

    def test_pass_over_what_a_crash_cut_off(self) -> None:
        line = anchor_line(self.ANCHOR)

        assert read_anchors([line[:20] + "\n", line + "\n", line[:9]]) == (self.ANCHOR,)

    @pytest.mark.parametrize(
        "line", ["{}", "[]", '{"seq":1,"chain_hash":"a","at":"2026-11-22T12:00:00Z"}']
    )
    def test_refuse_what_is_no_anchor(self, line: str) -> None:
        with pytest.raises(ValidationFailed, match="Line 1"):
            read_anchors([line])


class TestChainHead:
    def test_begins_at_nothing(self) -> None:
        assert (ChainHead().seq, ChainHead().chain_hash) == (0, "0" * 64)
