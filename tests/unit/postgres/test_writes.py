"""Rows that wait for the end of their unit.

Seen to fail when a new value of a row that waited was written beside it, when nothing waited for
a statement that does not say what it is about, and when records waited for each other's reads.
"""

import pytest

from gpucloud_adapters.postgres.compiled import compiled
from gpucloud_adapters.postgres.writes import ADDED_LATE, EVENTS, PUT_LATE, Writes
from gpucloud_adapters.stored.kinds import KINDS
from gpucloud_core.kernel.errors import AlreadyExists

HOLDS = ADDED_LATE["holds"]
TASKS = ADDED_LATE["tasks"]


class TestWrites:
    def test_are_each_row_once_as_it_was_last(self) -> None:
        writes = Writes()
        writes.add(HOLDS, "new", "as added")
        writes.put(HOLDS, "new", "as changed")
        writes.put(HOLDS, "old", "first")
        writes.put(HOLDS, "old", "second")

        made = writes.take()

        assert made is not None
        assert made.values == {"add_holds": ["as changed"], "put_holds": ["second"]}
        assert made.puts == (1,)
        assert writes.take() is None

    def test_refuse_a_second_row_of_one_key(self) -> None:
        writes = Writes()
        writes.add(HOLDS, "one", "")

        with pytest.raises(AlreadyExists):
            writes.add(HOLDS, "one", "")

    def test_tell_every_event_in_its_order(self) -> None:
        writes = Writes()
        for word in ("first", "second", "first"):
            writes.tell(EVENTS, word)

        made = writes.take()

        assert made is not None
        assert made.values == {"add_outbox": ["first", "second", "first"]}

    def test_come_before_whatever_may_be_about_them(self) -> None:
        writes = Writes()
        assert not writes.concern(None)
        writes.tell(EVENTS, "a record")
        assert not writes.concern(None)
        assert not writes.concern("holds")
        assert writes.concern("outbox")
        writes.put(HOLDS, "one", "a row")
        assert writes.concern(None)
        assert writes.concern("holds")
        assert not writes.concern("tasks")
        writes.forget()
        assert not writes.concern(None)

    def test_are_one_statement_for_each_combination(self) -> None:
        def said(*keys: str) -> str:
            writes = Writes()
            for key in keys:
                writes.put(HOLDS, key, key)
            writes.add(TASKS, "t", "t")
            made = writes.take()
            assert made is not None
            return compiled(made.statement, made.values).sql

        assert said("a") == said("b")
        assert said("a", "b") == said("c", "d", "e")
        assert "LIMIT 1" in said("a")
        assert "LIMIT 1" not in said("a", "b")

    def test_are_of_kinds_that_are_stored_so(self) -> None:
        fields = {kind.table: tuple(kind.fields) for kind in KINDS}

        for target in (*ADDED_LATE.values(), *PUT_LATE.values()):
            assert fields[target.table] == target.columns
