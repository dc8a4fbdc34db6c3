"""The admin's dashboard and every tenant's allocations, on pages and over the API."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from litestar.testing import AsyncTestClient

from api_world import memory_app
from gpucloud_adapters.memory.node_driver import Fault, FaultKind
from operator_world import Operator
from page_visitor import PageVisitor, links

ANY = "/admin/allocations"


@pytest.fixture
async def olga() -> Operator:
    return await Operator.arrive(nodes=2)


async def sign_in(olga: Operator, client: AsyncTestClient[Any], name: str) -> PageVisitor:
    client.follow_redirects = False
    visitor = PageVisitor(olga.cloud, client)
    await visitor.post("/login", {"username": name, "password": f"{name}'s long password"})
    return visitor


@pytest.fixture
async def visitor(olga: Operator) -> AsyncIterator[PageVisitor]:
    async with AsyncTestClient(memory_app(olga.cloud)) as client:
        yield await sign_in(olga, client, "olga")


class TestDashboard:
    async def test_counts_the_fleet(self, olga: Operator, visitor: PageVisitor) -> None:
        await olga.ada.launch(3 + 1)
        await olga.cloud.work()

        page = (await visitor.get("/admin")).text

        for words in ("Total GPUs", ">16<", "4 held (25 %), 12 free to sell", "of 2", ">1<"):
            assert words in page
        headers = visitor._headers()
        body = (await visitor.client.get("/api/v1/admin/overview", headers=headers)).json()
        assert (body["total_gpus"], body["free_nodes"], body["active_allocations"]) == (16, 1, 1)
        assert body["users"] == 2
        (kind,) = body["hardware"]
        assert kind["model"] in page
        assert (kind["nodes"], kind["held_gpus"], kind["free_gpus"]) == (2, 4, 12)
        assert kind["most_free_gpus"] == 8
        assert "8 on one node" in page

    async def test_is_for_administrators(self, olga: Operator) -> None:
        async with AsyncTestClient(memory_app(olga.cloud)) as client:
            ada = await sign_in(olga, client, "ada")

            pages = [await ada.get("/admin"), await ada.get(ANY)]

        assert {page.status_code for page in pages} == {403}


class TestAllocations:
    async def test_are_found_by_owner_node_and_state(
        self, olga: Operator, visitor: PageVisitor
    ) -> None:
        allocation = await olga.ada.launch(2, name="notebook")
        node = await olga.only_node()

        listed = await visitor.get(f"{ANY}?view=progress&node={node}&q=note")
        assert "notebook" in listed.text
        assert "Provisioning" in listed.text
        assert f"{ANY}/{allocation}" in links(listed.text)
        one = await visitor.get(f"{ANY}/{allocation}")
        assert "The place and the hold are secured." in one.text
        answer = await visitor.client.get(
            f"/api/v1{ANY}?node_id={node}&status=provisioning", headers=visitor._headers()
        )
        assert [(row["id"], row["owner"]) for row in answer.json()["items"]] == [
            (allocation, "ada")
        ]

    async def test_are_released_by_force_with_a_name_and_a_reason(
        self, olga: Operator, visitor: PageVisitor
    ) -> None:
        allocation = await olga.ada.launch(2, name="notebook")
        await olga.cloud.work()
        act = f"{ANY}/{allocation}/force-release"
        ask = await visitor.get(act)
        assert "It belongs to ada, who is not asked." in ask.text

        wrong = await visitor.submit(ask, act, {"confirm": "other", "reason": "abuse"})
        silent = await visitor.submit(ask, act, {"confirm": "notebook", "reason": ""})
        assert wrong.status_code == silent.status_code == 422
        assert "Type notebook to confirm" in wrong.text
        assert "Say why" in silent.text
        done = await visitor.submit(ask, act, {"confirm": "notebook", "reason": "abuse"})

        assert "Releasing" in (await visitor.follow(done)).text
        await olga.cloud.work()
        assert "Released" in (await visitor.get(f"{ANY}/{allocation}")).text

    async def test_are_freed_on_an_operators_word_only(
        self, olga: Operator, visitor: PageVisitor
    ) -> None:
        allocation = await olga.ada.launch(2, name="notebook")
        await olga.cloud.work()
        olga.cloud.driver.plan(Fault(verb="wipe", kind=FaultKind.REFUSED_BEFORE, times=50))
        await olga.cloud.release(olga.ada.actor, allocation)
        await olga.cloud.pass_time(timedelta(minutes=20))
        act = f"{ANY}/{allocation}/force-cleanup"
        ask = await visitor.get(act)
        fields = {"confirm": "notebook", "reason": "seen on the node"}

        refused = await visitor.submit(ask, act, fields)
        done = await visitor.submit(ask, act, {**fields, "runtime_verified_absent": "on"})

        assert "Look on the node" in refused.text
        assert done.status_code == 303, done.text
