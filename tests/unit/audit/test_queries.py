"""A row that is shown is looked at: what was done to it, or to its place, is seen.

Seen to fail when the row before it was not asked for, and when the hash of what a row holds was
taken on trust.
"""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_builders import a_row, a_trail
from gpucloud_core.audit.queries import Standing, standing_of
from gpucloud_core.kernel.audit import FACTS, content_hash

lengths = st.integers(1, 6)
TEXTS = ("action", "target", "actor", "result", "ip", "correlation_id")


class TestStanding:
    @given(length=lengths)
    def test_of_a_good_trail_is_good_at_every_place(self, length: int) -> None:
        rows = a_trail(length)

        for place, row in enumerate(rows):
            assert standing_of(row, rows[place - 1] if place else None) is Standing.SEALED

    def test_of_a_row_without_a_place_says_so(self) -> None:
        assert standing_of(a_row(), None) is Standing.UNSEALED

    @given(length=lengths, data=st.data())
    def test_of_a_row_that_was_edited_is_bad(self, length: int, data: st.DataObject) -> None:
        rows = a_trail(length)
        place = data.draw(st.integers(0, length - 1))
        field = data.draw(st.sampled_from(TEXTS))
        edited: Any = replace(rows[place], **{field: "another"})  # type: ignore[arg-type]  # texts

        assert standing_of(edited, rows[place - 1] if place else None) is Standing.BAD

    @given(length=lengths, data=st.data())
    def test_of_a_row_rehashed_with_its_edit_is_bad_too(
        self, length: int, data: st.DataObject
    ) -> None:
        rows = a_trail(length)
        place = data.draw(st.integers(0, length - 1))
        edited = replace(rows[place], actor="another")
        facts = {name: getattr(edited, name) for name in FACTS}
        edited = replace(edited, content_hash=content_hash(edited.id, edited.at, facts))

        assert standing_of(edited, rows[place - 1] if place else None) is Standing.BAD

    @given(length=st.integers(2, 6), data=st.data())
    def test_of_a_row_whose_neighbour_is_gone_is_bad(
        self, length: int, data: st.DataObject
    ) -> None:
        rows = a_trail(length)
        place = data.draw(st.integers(1, length - 1))

        assert standing_of(rows[place], None) is Standing.BAD
        other = data.draw(st.sampled_from([row for row in rows if row is not rows[place - 1]]))
        assert standing_of(rows[place], other) is Standing.BAD

    @pytest.mark.parametrize("field", TEXTS)
    def test_of_a_row_edited_before_it_was_sealed_is_bad(self, field: str) -> None:
        edited: Any = replace(a_row(), **{field: "another"})  # type: ignore[arg-type]  # texts

        assert standing_of(edited, None) is Standing.BAD
