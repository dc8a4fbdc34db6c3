"""Tables in memory under any order of changes, some of them taken back.

Seen to fail when the journal was played forwards instead of backwards, when a replaced row kept
its old unique value, and when a removed row stayed in its index.
"""

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gpucloud_adapters.memory.unit import MemoryTransactions
from gpucloud_core.access.model import Project
from gpucloud_core.kernel.errors import AlreadyExists, NotFound
from gpucloud_core.kernel.ids import ProjectId, TenantId
from gpucloud_core.kernel.unit import Scope
from row_builders import NOW, FixedClock

TENANT = TenantId("ten_1")
few = st.sampled_from("abc")  # few, so that keys and slugs collide
changes = st.lists(st.tuples(st.sampled_from(["add", "put", "delete"]), few, few), max_size=5)


class TakenBackError(Exception):
    pass


class RollbackMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.transactions = MemoryTransactions(FixedClock())
        self.runner = asyncio.Runner()
        self.model: dict[str, str] = {}  # key to slug: all that may be stored

    def teardown(self) -> None:
        self.runner.close()

    @rule(changes=changes, takes_back=st.booleans())
    def change(self, changes: list[tuple[str, str, str]], takes_back: bool) -> None:
        expected = dict(self.model)
        try:
            self.runner.run(self._change(changes, expected, takes_back=takes_back))
        except TakenBackError:
            return
        self.model = expected

    async def _change(
        self, changes: list[tuple[str, str, str]], expected: dict[str, str], *, takes_back: bool
    ) -> None:
        async with self.transactions.begin(Scope.tenant(TENANT)) as unit:
            for verb, key, slug in changes:
                row = a_project(key, slug)
                taken = slug in {other for name, other in expected.items() if name != key}
                try:
                    if verb == "delete":
                        await unit.projects.delete(key)
                        expected.pop(key, None)
                        continue
                    await (unit.projects.add if verb == "add" else unit.projects.put)(row)
                except AlreadyExists:
                    assert taken or (verb == "add" and key in expected)
                except NotFound:
                    assert verb == "put"
                    assert key not in expected
                else:
                    assert not taken
                    expected[key] = slug
            if takes_back:
                raise TakenBackError

    @invariant()
    def holds_what_was_committed(self) -> None:
        self.runner.run(self._compare())

    async def _compare(self) -> None:
        async with self.transactions.begin(Scope.tenant(TENANT)) as unit:
            rows = {row.id: row for row in await unit.projects.find()}
            assert rows == {key: a_project(key, slug) for key, slug in self.model.items()}
            assert set(await unit.projects.find(tenant_id=TENANT)) == set(rows.values())
            for slug in "abc":
                found = await unit.projects.find(tenant_id=TENANT, slug=slug)
                assert [row.slug for row in found] == [slug] * (slug in self.model.values())


def a_project(key: str, slug: str) -> Project:
    return Project(id=ProjectId(key), tenant_id=TENANT, name=slug, slug=slug, created_at=NOW)


TestRollback = RollbackMachine.TestCase
TestRollback.settings = settings(max_examples=40, stateful_step_count=12, deadline=None)
