"""Rows survive the way to columns and back, whatever they hold."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpucloud_adapters.postgres.engine import driver_url
from gpucloud_adapters.postgres.mapping import RowMapping
from gpucloud_adapters.stored.kinds import KINDS, NODES, TASKS, Kind
from gpucloud_core.kernel.ids import ProjectId, TenantId
from gpucloud_core.work.model import Step
from row_builders import a_node, a_task
from row_strategies import any_of


def as_the_driver_would(kind: Kind[Any], values: dict[str, Any]) -> list[Any]:
    """Return the columns as they are read: JSON through its text, text as plain text."""
    return [
        msgspec.json.decode(msgspec.json.encode(values[name]))
        if field.scalar is None
        else (str.__str__(values[name]) if isinstance(values[name], str) else values[name])
        for name, field in kind.fields.items()
    ]


class TestRowMapping:
    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.table)
    @settings(max_examples=15)
    @given(data=st.data())
    def test_gives_back_the_row_it_was_given(self, kind: Kind[Any], data: st.DataObject) -> None:
        row = data.draw(any_of(kind.row))
        mapping = RowMapping(kind)

        again = mapping.decode(as_the_driver_would(kind, mapping.encode(row)))

        assert again == row
        for name in kind.fields:
            assert type(getattr(again, name)) is type(getattr(row, name)), name

    def test_gives_back_a_topology_with_all_its_parts(self) -> None:
        node = a_node()
        mapping = RowMapping(NODES)

        again = mapping.decode(as_the_driver_would(NODES, mapping.encode(node)))

        assert again == node
        assert hash(again.topology) == hash(node.topology)

    def test_reads_rows_from_before_a_part_existed(self) -> None:
        task = a_task(TenantId("ten_1"), ProjectId("prj_1"), steps=(Step(key="a", title="A"),))
        mapping = RowMapping(TASKS)
        values = as_the_driver_would(TASKS, mapping.encode(task))
        (step,) = values[list(TASKS.fields).index("steps")]

        del step["usual_seconds"]
        step["of_another_time"] = 1

        assert mapping.decode(values) == task


class TestDriverUrl:
    @pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
    def test_names_the_driver(self, scheme: str) -> None:
        url = driver_url(f"{scheme}://me:a%2Fb@db.example:5433/cloud")

        assert url.render_as_string(hide_password=False) == (
            "postgresql+asyncpg://me:a%2Fb@db.example:5433/cloud"
        )

    def test_understands_sslmode(self) -> None:
        url = driver_url("postgresql://db.example/cloud?sslmode=verify-full")

        assert dict(url.query) == {"ssl": "verify-full"}

    @pytest.mark.parametrize("address", ["mysql://db/cloud", "db.example", ""])
    def test_refuses_what_is_no_postgres(self, address: str) -> None:
        with pytest.raises(ValueError, match="postgresql://"):
            driver_url(address)
