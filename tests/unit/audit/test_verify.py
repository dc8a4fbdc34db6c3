"""Whatever is done to a sealed trail is found, named, and placed at the first row it touched.

Seen to fail when the check took a row's own content hash on trust instead of computing it again,
and when the chain hash left the place out, so that the rest could be renumbered.
"""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from audit_builders import a_row, a_trail, anchor_at, end_of, sealed, verified
from gpucloud_core.audit.chain import ChainHead
from gpucloud_core.audit.export import export_line, read_link
from gpucloud_core.audit.verify import Fault, Tampering, link_of
from gpucloud_core.kernel.audit import FACTS, AuditRow, content_hash

lengths = st.integers(2, 8)


def found(
    rows: tuple[AuditRow, ...], head: ChainHead | None = None, *anchored: AuditRow
) -> tuple[str, int | None]:
    fault = verified(rows, head, *map(anchor_at, anchored)).fault
    assert fault is not None
    return fault.what, fault.seq


def rehashed(row: AuditRow) -> AuditRow:
    facts = {name: getattr(row, name) for name in FACTS}
    return replace(row, content_hash=content_hash(row.id, row.at, facts))


class TestAGoodTrail:
    @given(length=st.integers(0, 6), waiting=st.integers(0, 3), data=st.data())
    def test_is_right_however_it_was_sealed(
        self, length: int, waiting: int, data: st.DataObject
    ) -> None:
        rows = a_trail(length)
        cut = data.draw(st.integers(0, length))
        head = end_of(rows[:cut]) if cut else None
        twice = rows[:cut] + sealed(rows[cut:], head)
        late = [a_row(length + number) for number in range(waiting)]
        anchors = [anchor_at(row) for row in rows if data.draw(st.booleans())]

        verdict = verified([*twice, *late], end_of(rows) if rows else None, *anchors)

        assert twice == rows
        assert (verdict.sealed, verdict.unsealed, verdict.fault) == (length, waiting, None)

    @given(length=st.integers(1, 5))
    def test_reads_the_same_from_an_export(self, length: int) -> None:
        rows = [*a_trail(length), a_row(length)]

        assert [read_link(export_line(row)) for row in rows] == [link_of(row) for row in rows]


class TestTampering:
    @given(length=lengths, data=st.data())
    def test_names_an_edited_row(self, length: int, data: st.DataObject) -> None:
        rows = list(a_trail(length))
        at = data.draw(st.integers(0, length - 1))
        name = data.draw(st.sampled_from(["actor", "result", "ip", "target"]))
        change: dict[str, Any] = {name: "mallory"}
        rows[at] = replace(rows[at], **change)

        assert found(tuple(rows)) == (Tampering.EDITED, at + 1)

    @given(length=lengths, data=st.data())
    def test_names_a_row_edited_together_with_its_hash(
        self, length: int, data: st.DataObject
    ) -> None:
        rows = a_trail(length)
        at = data.draw(st.integers(0, length - 1))
        edited = rehashed(replace(rows[at], actor="mallory"))

        bad = (*rows[:at], edited, *rows[at + 1 :])
        assert found(bad, end_of(rows)) == (Tampering.EDITED, at + 1)

    def test_names_a_row_edited_before_it_was_sealed(self) -> None:
        rows = (*a_trail(2), replace(a_row(2), actor="mallory"))

        assert found(rows) == (Tampering.EDITED, None)

    @given(length=lengths, data=st.data())
    def test_names_the_first_of_rows_deleted(self, length: int, data: st.DataObject) -> None:
        rows = a_trail(length)
        first = data.draw(st.integers(0, length - 2))
        last = data.draw(st.integers(first, length - 2))

        assert found(rows[:first] + rows[last + 1 :]) == (Tampering.DELETED, first + 1)

    @given(length=st.integers(3, 8), data=st.data())
    def test_notices_that_the_rest_was_renumbered(self, length: int, data: st.DataObject) -> None:
        rows = a_trail(length)
        gone = data.draw(st.integers(0, length - 3))
        rest = tuple(replace(row, seq=(row.seq or 0) - 1) for row in rows[gone + 1 :])

        assert found(rows[:gone] + rest) == (Tampering.DELETED, gone + 1)

    @given(length=lengths, data=st.data())
    def test_names_a_row_put_in_between(self, length: int, data: st.DataObject) -> None:
        rows = a_trail(length)
        at = data.draw(st.integers(0, length - 1))
        forged = replace(a_row(), seq=at + 1, chain_hash="f" * 64)
        rest = tuple(replace(row, seq=(row.seq or 0) + 1) for row in rows[at:])

        assert found((*rows[:at], forged, *rest)) == (Tampering.INSERTED, at + 1)

    @given(length=lengths, data=st.data())
    def test_names_a_second_row_at_one_place(self, length: int, data: st.DataObject) -> None:
        rows = a_trail(length)
        at = data.draw(st.integers(0, length - 1))
        twin = replace(a_row(), seq=at + 1, chain_hash=rows[at].chain_hash)

        assert found((*rows[: at + 1], twin, *rows[at + 1 :])) == (Tampering.INSERTED, at + 1)

    @given(length=lengths, data=st.data())
    def test_names_the_first_of_two_that_changed_places(
        self, length: int, data: st.DataObject
    ) -> None:
        rows = list(a_trail(length))
        first = data.draw(st.integers(0, length - 2))
        other = data.draw(st.integers(first + 1, length - 1))
        with_hash = data.draw(st.booleans())
        one, two = rows[first], rows[other]
        names = ("seq", "chain_hash") if with_hash else ("seq",)
        place: dict[str, Any] = {name: getattr(one, name) for name in names}
        other_place: dict[str, Any] = {name: getattr(two, name) for name in names}
        rows[first], rows[other] = replace(two, **place), replace(one, **other_place)

        assert found(tuple(rows)) == (Tampering.MOVED, first + 1)

    @given(length=lengths, data=st.data())
    def test_names_a_tail_cut_off_by_whoever_also_moved_the_head(
        self, length: int, data: st.DataObject
    ) -> None:
        rows = a_trail(length)
        kept = rows[: data.draw(st.integers(1, length - 1))]

        assert found(kept, end_of(kept), rows[-1]) == (Tampering.TRUNCATED, len(kept) + 1)
        assert found(kept, end_of(rows)) == (Tampering.TRUNCATED, len(kept) + 1)

    @given(length=lengths, data=st.data())
    def test_names_the_anchor_that_a_chain_made_anew_misses(
        self, length: int, data: st.DataObject
    ) -> None:
        rows = a_trail(length)
        at = data.draw(st.integers(0, length - 1))
        edited = [*rows[:at], rehashed(replace(rows[at], actor="mallory")), *rows[at + 1 :]]
        anew = sealed(edited)
        anchored = data.draw(st.integers(at, length - 1))

        assert verified(anew, end_of(anew)).fault is None, "only anchors tell"
        assert found(anew, end_of(anew), rows[anchored]) == (Tampering.REPLACED, anchored + 1)

    def test_names_a_head_that_is_not_the_end(self) -> None:
        rows = a_trail(3)

        assert found(rows, ChainHead(seq=3, chain_hash="0" * 64)) == (Tampering.REPLACED, 3)

    def test_says_the_row(self) -> None:
        rows = list(a_trail(3))
        rows[1] = replace(rows[1], actor="mallory")

        assert verified(rows).fault == Fault(
            what=Tampering.EDITED,
            seq=2,
            row_id=rows[1].id,
            words="it does not hold what its content hash was made of",
        )
