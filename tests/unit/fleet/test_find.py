"""What the palette finds, by whatever somebody has in their hand, and for whom.

Seen to fail when a customer was given what another project runs on the same node, when the serials
of GPUs beside one's own were taken for one's own, and when people were found by everybody.
"""

from dataclasses import replace

import pytest

from gpucloud_core.access.model import Actor, PlatformRole
from gpucloud_core.fleet.find import FindThings, Found, may_be_mark
from gpucloud_core.kernel.ids import ProjectId
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.nodes.marks import marks_of
from operator_world import Operator


@pytest.fixture
async def olga() -> Operator:
    return await Operator.arrive(dollars=500)


async def found(
    olga: Operator, text: str, *, by: Actor | None = None, project_id: ProjectId | None = None
) -> Found:
    """Return what somebody finds; Ada in her project, unless it is said who and where."""
    actor = by or olga.ada.actor
    async with olga.transactions.begin(Scope.platform()) as unit:
        projects = await unit.projects.find(tenant_id=actor.tenant_id)
    find = FindThings(transactions=olga.transactions)
    here = project_id or ProjectId(projects[0].id)
    return await find(actor=actor, project_id=here, text=text)


def names(found: Found) -> dict[str, list[str]]:
    return {
        "allocations": [one.allocation.name for one in found.allocations],
        "elsewhere": [one.allocation.name for one in found.elsewhere],
        "nodes": [node.name for node in found.nodes],
        "users": [user.username for user in found.users],
    }


class TestMayBeMark:
    @pytest.mark.parametrize(
        "text",
        [
            *("10.9.0.4", "2001:db8::7", "node-7.example.org", "1320722012345"),
            *("GPU-5f6a0c1e-0000-4b1e-9c1d-0123456789ab", "S64GNE0R812345"),
        ],
    )
    def test_takes_addresses_serials_and_uuids(self, text: str) -> None:
        assert may_be_mark(text)

    @pytest.mark.parametrize(
        "text",
        ["llama", "a 10.9.0.4", "x1", "alc_01m8gs0wj3fmsskzhjpcj9kg1e", "nod_1", "é10.0.0.1", ""],
    )
    def test_takes_no_words_and_no_ids_of_ours(self, text: str) -> None:
        assert not may_be_mark(text)


class TestFind:
    async def test_takes_a_customer_to_their_own_by_all_that_is_theirs(
        self, olga: Operator
    ) -> None:
        mine = await olga.ada.launch(gpus=2, name="mine")
        await olga.ada.launch(gpus=1, name="beside")
        await olga.cloud.work()
        node = (await olga.read(await olga.only_node())).node
        row = (await olga.cloud.read(olga.ada.actor, mine)).allocation
        held = [gpu for gpu in node.topology.gpus if row.mask >> gpu.index & 1]
        assert row.connection is not None

        for text in ("mine", "MINE", mine, *(gpu.uuid for gpu in held), *(g.serial for g in held)):
            assert names(await found(olga, text)) == {
                "allocations": ["mine"],
                "elsewhere": [],
                "nodes": [],
                "users": [],
            }, text
            elsewhere = ProjectId("prj_another")
            assert names(await found(olga, text, project_id=elsewhere))["allocations"] == [], text
        by_address = await found(olga, row.connection.host)
        assert [one.allocation.name for one in by_address.allocations] == ["mine"]

    async def test_shows_a_customer_nothing_of_others(self, olga: Operator) -> None:
        await olga.ada.launch(name="hers")
        await olga.cloud.work()
        node = (await olga.read(await olga.only_node())).node
        eve = await olga.cloud.sign_up("eve")

        for text in ("hers", "ada", "olga", node.name, node.id, *marks_of(node)):
            assert names(await found(olga, text, by=eve)) == {
                kind: [] for kind in ("allocations", "elsewhere", "nodes", "users")
            }, text

    async def test_takes_an_operator_to_the_node_and_to_who_is_there(self, olga: Operator) -> None:
        await olga.ada.launch(gpus=1, name="hers")
        await olga.cloud.work()
        node = (await olga.read(await olga.only_node())).node
        ends = [gpu for gpu in node.topology.gpus if gpu.index in {0, 7}]
        held = (await found(olga, "hers", by=olga.actor)).elsewhere[0].allocation.mask

        assert names(await found(olga, node.name, by=olga.actor))["nodes"] == [node.name]
        for mark in marks_of(node):
            assert names(await found(olga, mark, by=olga.actor))["nodes"] == [node.name], mark
        for gpu in ends:
            there = names(await found(olga, gpu.serial, by=olga.actor))["elsewhere"]
            assert there == (["hers"] if held >> gpu.index & 1 else [])

    async def test_takes_only_those_to_people_who_may_read_them(self, olga: Operator) -> None:
        ops = replace(olga.actor, platform_role=PlatformRole.OPS)
        money = replace(olga.actor, platform_role=PlatformRole.BILLING_OPERATOR)

        assert names(await found(olga, "ada", by=olga.actor))["users"] == ["ada"]
        assert names(await found(olga, "ada", by=money))["users"] == ["ada"]
        assert names(await found(olga, "ada", by=ops))["users"] == []
        assert names(await found(olga, "node", by=money))["nodes"] == []
