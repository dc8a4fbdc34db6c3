"""Operators' node pages without JavaScript: from adding to deleting one, and whom they keep out."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from litestar.testing import AsyncTestClient

from api_world import memory_app
from gpucloud_adapters.memory.cloud import MemoryCloud
from gpucloud_core.access.model import PlatformRole
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.nodes.systems import hgx_h200
from operator_world import HOST_KEY, NEW_HOST, PRIVATE_KEY, Operator
from page_visitor import PageVisitor, heading_of, links

NODES = "/admin/nodes"
NEW = {
    "name": "hgx-h200-09",
    "region": "eu-fra-1",
    "host": NEW_HOST,
    "port": "22",
    "username": "gpucloud",
    "host_key": HOST_KEY,
    "private_key": PRIVATE_KEY,
    "mode": "container",
    "slot_port": "22000",
    "shared_kernel": "on",
    "probe": "on",
}


@pytest.fixture
async def olga() -> Operator:
    olga = await Operator.arrive()
    olga.cloud.driver.plug(NEW_HOST, hgx_h200(seed="new"))
    return olga


async def sign_in(cloud: MemoryCloud, client: AsyncTestClient, name: str) -> PageVisitor:  # type: ignore[type-arg]  # any app
    client.follow_redirects = False
    visitor = PageVisitor(cloud, client)
    await visitor.post("/login", {"username": name, "password": f"{name}'s long password"})
    return visitor


@pytest.fixture
async def visitor(olga: Operator) -> AsyncIterator[PageVisitor]:
    async with AsyncTestClient(memory_app(olga.cloud)) as client:
        yield await sign_in(olga.cloud, client, "olga")


class TestTheWayIntoService:
    async def test_leads_from_page_to_page(self, olga: Operator, visitor: PageVisitor) -> None:
        form = await visitor.get(f"{NODES}/new")
        probe = await visitor.follow(await visitor.submit(form, f"{NODES}/new", NEW))
        assert heading_of(probe.text) == "Probe hgx-h200-09"
        await olga.cloud.work()
        probed = await visitor.get(str(probe.url.path))
        assert "discover its inside next" in probed.text
        node = next(link for link in links(probed.text) if link.startswith(f"{NODES}/nod_"))

        empty = await visitor.get(node)
        assert "Nothing is known of its inside yet" in empty.text
        task = await visitor.follow(await visitor.submit(empty, f"{node}/discover", {}))
        await olga.cloud.work()
        assert f"{node}?tab=slots" in links((await visitor.get(str(task.url.path))).text)

        review = await visitor.get(f"{node}?tab=slots")
        assert len(re.findall(r"all \d+ conditions hold", review.text)) == 8
        ticked = {"slot": [str(index) for index in range(8)], "verb": "approve"}
        approved = await visitor.follow(await visitor.submit(review, f"{node}/slots", ticked))
        assert approved.text.count("Free") >= 8
        assert "16 free" in (await visitor.get("/infra/catalog")).text

        ask = await visitor.get(f"{node}/drain")
        drained = await visitor.follow(await visitor.submit(ask, f"{node}/drain", {}))
        assert "Draining" in drained.text
        assert "· 8 free" in (await visitor.get("/infra/catalog")).text

    async def test_keeps_what_was_typed_but_never_the_key(self, visitor: PageVisitor) -> None:
        form = await visitor.get(f"{NODES}/new")

        answer = await visitor.submit(form, f"{NODES}/new", {**NEW, "host": "no host", "port": "x"})

        assert answer.status_code == 422
        assert 'value="hgx-h200-09"' in answer.text
        assert "BEGIN OPENSSH PRIVATE KEY-----\nbm90" not in answer.text
        assert "Use a number from 1 to 65535." in answer.text

    async def test_says_which_condition_is_wanting(
        self, olga: Operator, visitor: PageVisitor
    ) -> None:
        topology = hgx_h200(seed="odd")
        odd = (replace(topology.gpus[0], model="NVIDIA H100"), *topology.gpus[1:])
        added = await olga.add(replace(topology, gpus=odd))
        await olga.discover(added.node_id)

        page = await visitor.get(f"{NODES}/{added.node_id}?tab=slots")

        assert page.text.count("Mixed: NVIDIA H100, NVIDIA H200.") == 8
        assert "Approve chosen" not in page.text


class TestOneNode:
    async def test_shows_who_holds_what_and_why_it_is_there(
        self, olga: Operator, visitor: PageVisitor
    ) -> None:
        await olga.ada.launch(2, name="notebook")
        await olga.cloud.pass_time(timedelta(minutes=2))

        page = (await visitor.get(f"{NODES}/{await olga.only_node()}")).text

        assert "notebook · ada" in page
        assert "Its GPUs reach each other over" in page
        assert "6 × 1 GPU, or 3 × 2 GPUs, or 1 × 4 GPUs" in page

    async def test_is_put_in_its_place_in_the_fabric(
        self, olga: Operator, visitor: PageVisitor
    ) -> None:
        node = f"{NODES}/{await olga.only_node()}"
        settings = await visitor.get(f"{node}?tab=settings")
        place = {"fabric_kind": "rail_optimised", "fabric": "fra-1", "pod": "p-1", "group": "su-4"}

        placed = await visitor.follow(await visitor.submit(settings, f"{node}/place", place))
        wrong = await visitor.submit(placed, f"{node}/place", {**place, "group": "no group"})

        assert "su-4, p-1, fra-1" in placed.text
        assert wrong.status_code == 422
        assert "such as leaf-7" in wrong.text

    async def test_is_not_deleted_while_it_is_held_and_says_by_whom(
        self, olga: Operator, visitor: PageVisitor
    ) -> None:
        allocation = await olga.ada.launch(2, name="notebook")
        node = f"{NODES}/{await olga.only_node()}"

        ask = await visitor.get(f"{node}/delete")
        fields = {"confirm": "node-1", "reason": "old"}
        answer = await visitor.submit(ask, f"{node}/delete", fields)

        assert f"notebook ({allocation}) of ada" in ask.text
        assert answer.status_code == 409
        assert "Drain it" in answer.text

    @pytest.mark.parametrize(
        ("typed", "reason", "said"),
        [("node-2", "old", "Type node-1"), ("node-1", " ", "Say why")],
    )
    async def test_asks_for_its_name_and_a_reason(
        self, olga: Operator, visitor: PageVisitor, typed: str, reason: str, said: str
    ) -> None:
        node = f"{NODES}/{await olga.only_node()}"
        ask = await visitor.get(f"{node}/retire")

        answer = await visitor.submit(ask, f"{node}/retire", {"confirm": typed, "reason": reason})

        assert answer.status_code == 422
        assert said in answer.text
        assert "Active" in (await visitor.get(node)).text

    async def test_says_what_differs(self, olga: Operator, visitor: PageVisitor) -> None:
        node_id = await olga.only_node()
        olga.cloud.driver.plug("node-1", hgx_h200(seed="other"))
        await olga.discover(node_id)

        page = await visitor.get(f"{NODES}/{node_id}?tab=discovery")
        assert page.text.count("gpu_gone") == 8
        accepted = await visitor.follow(await visitor.post(f"{NODES}/{node_id}/accept", {}))

        assert accepted.text.count("Proposed") >= 8


class TestTheList:
    async def test_names_holders_and_keeps_its_state_in_the_address(
        self, olga: Operator, visitor: PageVisitor
    ) -> None:
        await olga.ada.launch(2, name="notebook")

        page = await visitor.get(f"{NODES}?view=active&q=node&sort=name")

        assert "notebook" in page.text
        assert "2 held · 6 free" in page.text
        assert "No nodes match" in (await visitor.get(f"{NODES}?q=nothing")).text


class TestWhoMay:
    async def test_others_are_told_whom_it_is_for(self, olga: Operator) -> None:
        async with AsyncTestClient(memory_app(olga.cloud)) as client:
            ada = await sign_in(olga.cloud, client, "ada")

            pages = [await ada.get(path) for path in (NODES, f"{NODES}/new")]
            pages.append(await ada.post(f"{NODES}/{await olga.only_node()}/drain", {}))

        assert {page.status_code for page in pages} == {403}
        assert all("platform ops or a platform admin" in page.text for page in pages)

    async def test_ops_see_everything_but_what_ends_a_node(
        self, olga: Operator, visitor: PageVisitor
    ) -> None:
        async with olga.transactions.begin(Scope.platform()) as unit:
            user = await unit.users.lock(olga.actor.user_id or "")
            assert user is not None
            await unit.users.put(replace(user, platform_role=PlatformRole.OPS))
        node = f"{NODES}/{await olga.only_node()}"

        page = (await visitor.get(node)).text

        assert f"{node}/drain" in links(page)
        assert not {f"{node}/retire", f"{node}/delete"} & links(page)
        assert "/admin/nodes/new" not in links((await visitor.get(NODES)).text)
