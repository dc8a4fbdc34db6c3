"""What an idempotency key promises, whatever the store: one effect, with its answer, or none.

Seen to fail when later units joined without a savepoint, when a first unit that failed left the
attempt in its undone transaction, when a look did not join, and when a joined part kept the scope
of the one before it.
"""

import pytest

from contracts.stores import PLATFORM, Household, StoreContract, StoreUnit
from contracts.transactions import ChangedMindError
from gpucloud_adapters.stored.invariants import InvariantError
from gpucloud_core.access.model import Project
from gpucloud_core.kernel.errors import AlreadyExists
from gpucloud_core.kernel.idempotency import IdempotencyKey, IdempotencyKeyReused
from gpucloud_core.kernel.once import SecretNotReplayed, attempting, once, when_ended
from gpucloud_core.kernel.unit import Transactions
from row_builders import a_node, a_project


def key_of(home: Household, body: bytes = b"") -> IdempotencyKey:
    return IdempotencyKey.of(
        tenant_id=home.tenant.id, route="POST /projects", key="k", body=body, who=home.user.id
    )


class OnceContract(StoreContract):
    async def test_does_it_once_and_answers_the_same_again(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        async def make() -> str:
            project = a_project(home.tenant.id)
            async with transactions.begin(home.scope) as unit:
                await unit.projects.add(project)
            return project.id

        first = await once(key_of(home), make, written=str, read=str)
        again = await once(key_of(home), make, written=str, read=str)

        assert first == again
        assert await self.committed(transactions, "projects", "tenant_id", home.tenant.id) == 2
        with pytest.raises(IdempotencyKeyReused):
            await once(key_of(home, b"other"), make, written=str, read=str)

    async def test_shows_a_look_what_the_attempt_has_done(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        project = a_project(home.tenant.id)

        async def make() -> str:
            async with transactions.begin(home.scope) as unit:
                await unit.projects.add(project)
            async with transactions.look(home.scope) as unit:
                assert await unit.projects.get(project.id) == project
            return project.id

        assert await once(key_of(home), make, written=str, read=str) == project.id

    async def test_leaves_nothing_when_it_fails_and_tries_again(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        fails = [True, False]
        project = a_project(home.tenant.id)

        async def make() -> str:
            async with transactions.begin(home.scope) as unit:
                await unit.projects.add(project)
            if fails.pop(0):
                raise ChangedMindError
            return project.id

        with pytest.raises(ChangedMindError):
            await once(key_of(home), make, written=str, read=str)
        assert await self.committed(transactions, "projects", "id", project.id) == 0
        assert await self._keys(transactions, home) == 0

        await once(key_of(home), make, written=str, read=str)
        assert await self.committed(transactions, "projects", "id", project.id) == 1

    async def test_undoes_one_unit_that_fails_and_keeps_the_others(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        kept, undone = a_project(home.tenant.id), a_project(home.tenant.id)

        async def add(*projects: Project) -> None:
            async with transactions.begin(home.scope) as unit:
                for project in projects:
                    await unit.projects.add(project)

        async def make() -> str:
            await add(kept)
            with pytest.raises(AlreadyExists):
                await add(undone, kept)
            async with transactions.begin(home.scope) as unit:
                assert await unit.projects.get(undone.id) is None
            return kept.id

        await once(key_of(home), make, written=str, read=str)

        assert await self.committed(transactions, "projects", "id", kept.id) == 1
        assert await self.committed(transactions, "projects", "id", undone.id) == 0

    async def test_begins_anew_after_a_first_unit_that_failed(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        undone, kept = a_project(home.tenant.id), a_project(home.tenant.id)
        ended: list[str] = []

        async def add(project: Project, *, fails: bool) -> None:
            async with transactions.begin(home.scope) as unit:
                when_ended(lambda: ended.append(project.id))
                await unit.projects.add(project)
                if fails:
                    raise ChangedMindError

        async def make() -> str:
            with pytest.raises(ChangedMindError):
                await add(undone, fails=True)
            assert ended == [undone.id]
            await add(kept, fails=False)
            assert ended == [undone.id]
            return kept.id

        assert await once(key_of(home), make, written=str, read=str) == kept.id
        assert await once(key_of(home), make, written=str, read=str) == kept.id

        assert ended == [undone.id, kept.id]
        assert await self.committed(transactions, "projects", "id", kept.id) == 1
        assert await self.committed(transactions, "projects", "id", undone.id) == 0

    async def test_gives_each_unit_its_own_scope(
        self, transactions: Transactions[StoreUnit], home: Household, neighbour: Household
    ) -> None:
        node = a_node()

        async def make() -> str:
            async with transactions.begin(home.scope) as unit:
                assert await unit.projects.get(neighbour.project.id) is None
            async with transactions.begin(PLATFORM) as unit:
                assert await unit.projects.get(neighbour.project.id) is not None
                await unit.nodes.add(node)
            with pytest.raises(InvariantError):
                async with transactions.begin(home.scope) as unit:
                    await unit.projects.add(a_project(neighbour.tenant.id))
            async with transactions.begin(home.scope) as unit:
                assert await unit.projects.get(neighbour.project.id) is None
            return node.id

        await once(key_of(home), make, written=str, read=str)

        assert await self.committed(transactions, "nodes", "id", node.id) == 1

    async def test_keeps_of_a_secret_only_whose_it_is(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        async with attempting() as attempt:
            attempt.arm(key_of(home))
            async with transactions.begin(home.scope):
                pass
            await attempt.keep_secret("key_of_somebody")

        async with attempting() as attempt:
            attempt.arm(key_of(home))
            with pytest.raises(SecretNotReplayed, match="key_of_somebody"):
                async with transactions.begin(home.scope):
                    pass

    async def test_is_over_when_it_is_kept(
        self, transactions: Transactions[StoreUnit], home: Household
    ) -> None:
        """What comes later in the same context has transactions of its own."""
        async with attempting() as attempt:
            attempt.arm(key_of(home))
            async with transactions.begin(home.scope):
                pass
            await attempt.keep(200, '""')
            project = a_project(home.tenant.id)
            async with transactions.begin(home.scope) as unit:
                await unit.projects.add(project)
            assert await self.committed(transactions, "projects", "id", project.id) == 1

    async def _keys(self, transactions: Transactions[StoreUnit], home: Household) -> int:
        return await self.committed(transactions, "stored_responses", "tenant_id", home.tenant.id)
