"""Statements as the driver takes them.

Seen to fail when a statement that was given other values than before was taken for the same one
(a column was not written), and when a value with a default was sent as null.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    MetaData,
    Table,
    Text,
    bindparam,
    insert,
    select,
    text,
    update,
)

from gpucloud_adapters.postgres.compiled import Compiled, compiled

THINGS = Table("things", MetaData(), Column("id", Text), Column("size", BigInteger))


def said(statement: Any, given: dict[str, Any]) -> tuple[str, list[Any]]:
    made = compiled(statement, given)
    return " ".join(made.sql.split()), made.arguments(given)


class TestCompiled:
    def test_has_its_values_in_the_order_of_their_places(self) -> None:
        wanted = select(THINGS.c.size).where(
            THINGS.c.size > bindparam("least", type_=BigInteger),
            THINGS.c.id == bindparam("row_key", type_=Text),
        )

        sql, values = said(wanted, {"row_key": "a", "least": 3})
        assert sql.endswith("WHERE things.size > $1::BIGINT AND things.id = $2::VARCHAR")
        assert values == [3, "a"]

    def test_writes_the_columns_that_are_given(self) -> None:
        change = update(THINGS).where(THINGS.c.id == bindparam("row_key", type_=Text))

        one = said(change, {"size": 3, "row_key": "a"})
        both = said(change, {"size": 3, "id": "b", "row_key": "a"})

        assert one[0].startswith("UPDATE things SET size=$1::BIGINT WHERE")
        assert both[0].startswith("UPDATE things SET id=$1::VARCHAR, size=$2::BIGINT WHERE")
        assert (one[1], both[1]) == ([3, "a"], ["b", 3, "a"])

    def test_sends_what_the_statement_itself_compares_with(self) -> None:
        small = select(THINGS.c.id).where(THINGS.c.size < 7)

        assert said(small, {})[1] == [7]

    def test_sends_a_value_once_however_often_it_is_used(self) -> None:
        twice = text("SELECT :one, :two, :one")

        assert said(twice, {"one": 1, "two": 2}) == ("SELECT $1, $2, $1", [1, 2])

    def test_is_made_once(self) -> None:
        add = insert(THINGS)

        first = compiled(add, {"id": "a", "size": 1})

        assert isinstance(first, Compiled)
        assert compiled(add, {"id": "b", "size": 2}) is first
