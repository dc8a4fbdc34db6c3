"""Lists, what is done from them, the palette and the inbox, without JavaScript."""

import csv
import io
import re
from dataclasses import replace

from gpucloud_adapters.memory.cloud import MemoryCloud
from gpucloud_core.access.model import PlatformRole
from gpucloud_core.kernel.ids import ProjectId
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.notices.model import InboxNotice, NoticeLevel
from page_visitor import PageVisitor, heading_of, launched, links


class TestList:
    async def test_keeps_its_state_in_the_address(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        for name in ("alpha", "beta", "gamma"):
            await launched(visitor, name)
        found = await visitor.get("/workloads?q=bet&sort=name")

        assert "beta" in found.text
        assert "alpha" not in found.text
        assert "Remove filter" in found.text

    async def test_says_so_when_nothing_matches(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        assert "Nothing launched yet" in (await visitor.get("/workloads")).text
        await launched(visitor)

        assert "No matches" in (await visitor.get("/workloads?q=nothing-like-it")).text

    async def test_drops_what_it_does_not_know_and_says_so(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        answer = await visitor.get("/workloads?view=gone&limit=7&sort=size")

        assert answer.status_code == 200
        assert "Ignored in the address: limit, view, sort." in answer.text

    async def test_exports_what_the_filters_leave_and_no_formula(
        self, visitor: PageVisitor
    ) -> None:
        await visitor.arrive()
        for name in ("=cmd|' /C calc'!A0", "beta"):
            await launched(visitor, name)
        page = await visitor.get("/workloads?q=cmd&sort=name")
        (export,) = (link for link in links(page.text) if "/csv" in link)
        answer = await visitor.get(export)

        lines = list(csv.DictReader(io.StringIO(answer.text)))
        assert [line["name"] for line in lines] == ["'=cmd|' /C calc'!A0"]
        assert lines[0]["gpu_count"] == "2"
        named = answer.headers["content-disposition"]
        assert re.search(r'filename="workloads-all-\d{8}T\d{6}Z\.csv"', named)

    async def test_shows_the_columns_that_were_chosen(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        await launched(visitor)
        fields = {"list": "workloads", "column": ["region", "cost"], "back": "/workloads?sort=name"}
        answer = await visitor.post("/preferences/columns", fields)
        assert answer.headers["location"] == "/workloads?sort=name"
        page = await visitor.get("/workloads")

        assert 'data-c="region"' in page.text
        assert 'data-c="node"' not in page.text

    async def test_says_where_a_row_went_that_left_its_view(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        await launched(visitor, "stays")
        await launched(visitor, "goes")
        await visitor.cloud.work()
        page = await visitor.get("/workloads?view=active")
        ids = {name: _id_of(page.text, name) for name in ("stays", "goes")}
        await visitor.post(f"/workloads/{ids['goes']}/release", {})
        await visitor.cloud.work()
        asked = "&".join(f"id={each}" for each in ids.values())
        rows = await visitor.get(f"/workloads/rows?view=active&{asked}")

        assert "<s>goes</s>" in rows.text
        assert "Moved to Released at" in rows.text
        assert "/workloads?view=released" in links(rows.text)
        assert f"/workloads/{ids['goes']}/receipt" in links(rows.text)
        assert "<s>stays</s>" not in rows.text
        assert f'id="row-{ids["stays"]}"' in rows.text

    async def test_starts_again_from_a_cursor_that_is_made_up(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        await launched(visitor)
        answer = await visitor.get("/workloads?cursor=bm90aGluZw")

        assert "Ignored in the address: cursor." in answer.text
        assert "sft-llama" in answer.text


def _id_of(html: str, name: str) -> str:
    found = re.search(rf'href="/workloads/(alc_\w+)"><bdi>{name}</bdi>', html)
    assert found, name
    return found.group(1)


class TestBulk:
    async def test_does_each_by_itself_and_says_what_became_of_each(
        self, visitor: PageVisitor
    ) -> None:
        await visitor.arrive()
        for name in ("first", "second"):
            await launched(visitor, name)
        await visitor.cloud.work()
        await launched(visitor, "on-its-way")
        page = await visitor.get("/workloads")
        ids = {name: _id_of(page.text, name) for name in ("first", "second", "on-its-way")}
        query = "&".join(f"id={each}" for each in ids.values())
        ask = await visitor.get(f"/workloads/bulk/release?{query}&back=/workloads%3Fsort%3Dname")
        assert heading_of(ask.text) == "Release 2 workloads?"
        assert "Together they cost $13.16/h" in ask.text
        assert "1 selected workload cannot be released just now." in ask.text

        answer = await visitor.submit(
            ask, "/workloads/bulk/release", {"id": [ids["first"], ids["on-its-way"]]}
        )

        assert heading_of(answer.text).startswith("1 released, 1 failed: ")
        assert "/workloads?sort=name" in links(answer.text)
        states = await visitor.get("/workloads")
        assert "Releasing" in states.text
        assert "Provisioning" in states.text

    async def test_reaches_nobody_elses(self, visitor: PageVisitor, cloud: MemoryCloud) -> None:
        await visitor.arrive()
        await launched(visitor)
        await visitor.cloud.work()
        mine = _id_of((await visitor.get("/workloads")).text, "sft-llama")
        stranger = await PageVisitor(cloud, visitor.client).arrive("eve", dollars=0)
        answer = await stranger.post("/workloads/bulk/release", {"id": [mine]})

        assert heading_of(answer.text) == "0 released"
        assert "Active" in (await visitor.get(f"/workloads/{mine}")).text


class TestPalette:
    async def test_finds_by_name_and_by_id_and_says_its_state(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        await launched(visitor, "sft-llama")
        await visitor.cloud.work()
        await launched(visitor, "eval")
        everything = (await visitor.get("/find?q=llama")).json()["items"]
        one, *acts = everything
        by_id = (await visitor.get(f"/find?q={one['href'].rpartition('/')[2]}")).json()["items"]

        assert (one["title"], one["group"]) == ("sft-llama", "Active")
        assert by_id == everything
        assert (await visitor.get("/find?q=")).json() == {"items": []}
        assert [act["title"] for act in acts] == [
            "Copy the SSH command of sft-llama",
            "Open a terminal on sft-llama",
            "Release sft-llama…",
            "Restart sft-llama…",
        ]
        assert [act["dialog"] for act in acts] == [False, False, True, True]

    async def test_offers_an_act_only_where_it_can_be_done(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        await launched(visitor, "runs")
        await visitor.cloud.work()
        await launched(visitor, "starts")

        async def titles(asked: str) -> list[str]:
            return [one["title"] for one in (await visitor.get(f"/find?q={asked}")).json()["items"]]

        assert await titles("release") == ["Release runs…"]
        assert await titles("cancel") == ["Cancel starts…"]
        assert await titles("ssh runs") == ["Copy the SSH command of runs"]
        assert await titles("metrics run") == ["Metrics of runs"]

    async def test_finds_nodes_for_operators_alone(
        self, visitor: PageVisitor, cloud: MemoryCloud
    ) -> None:
        await visitor.arrive()
        assert (await visitor.get("/find?q=node-1")).json()["items"] == []
        await make_operator(cloud, "ada")
        (node,) = (await visitor.get("/find?q=node-1")).json()["items"]
        (drain,) = (await visitor.get("/find?q=drain+node-1")).json()["items"]

        assert node["href"].startswith("/admin/nodes/nod_")
        assert (drain["title"], drain["dialog"]) == ("Drain node-1…", True)
        assert (await visitor.get("/find?q=undrain+node-1")).json()["items"] == []
        (ada, *_) = (await visitor.get("/find?q=ADA")).json()["items"]
        assert ada["href"] == "/admin/audit-logs?q=ada"

    async def test_finds_what_is_called_like_an_operators_verb(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        await launched(visitor, "drain test")

        for asked in ("drain", "drain test"):
            one, *_ = (await visitor.get(f"/find?q={asked}")).json()["items"]
            assert one["title"] == "drain test"

    async def test_leads_to_other_projects(self, visitor: PageVisitor, cloud: MemoryCloud) -> None:
        await visitor.arrive()
        async with cloud.transactions.begin(Scope.platform()) as unit:
            (project,) = await unit.projects.find()
            other = replace(
                project, id=ProjectId(cloud.ids.new("prj")), name="Vision", slug="vision"
            )
            await unit.projects.add(other)
        (switch,) = (await visitor.get("/find?q=vis")).json()["items"]

        assert (switch["title"], switch["post"]) == ("Switch to Vision", {"project_id": other.id})
        answer = await visitor.post(switch["href"], switch["post"] | {"back": "/workloads"})
        assert answer.headers["location"] == "/workloads"
        assert "Vision" in (await visitor.get("/workloads")).text
        (back,) = (await visitor.get("/find?q=default")).json()["items"]
        assert back["title"] == "Switch to Default"


async def make_operator(cloud: MemoryCloud, username: str) -> None:
    """Let somebody run the platform; the session that is open gets it at once."""
    async with cloud.transactions.begin(Scope.platform()) as unit:
        (user,) = await unit.users.find(username_key=username)
        await unit.users.put(replace(user, platform_role=PlatformRole.ADMIN))


class TestInbox:
    async def test_counts_what_is_unread_on_every_page_until_it_is_read(
        self, visitor: PageVisitor, cloud: MemoryCloud
    ) -> None:
        await visitor.arrive()
        assert "Nothing yet" in (await visitor.get("/inbox")).text
        await tell(cloud, "ada", title="Low balance", link="/billing")
        home = await visitor.get("/")
        assert 'aria-label="Inbox, 1 unread"' in home.text
        inbox = await visitor.get("/inbox?view=unread")
        assert "Low balance" in inbox.text
        (read,) = set(re.findall(r'action="(/inbox/[^"]+/read)"', inbox.text))
        assert (await visitor.post(read, {})).status_code == 303

        assert 'aria-label="Inbox"' in (await visitor.get("/")).text
        assert "No matches" in (await visitor.get("/inbox?view=unread")).text
        await tell(cloud, "ada", title="Another", link="")
        await visitor.post("/inbox/read", {})
        assert 'aria-label="Inbox"' in (await visitor.get("/")).text


async def tell(cloud: MemoryCloud, username: str, *, title: str, link: str) -> None:
    async with cloud.transactions.begin(Scope.platform()) as unit:
        (user,) = await unit.users.find(username_key=username)
        (member,) = await unit.tenant_members.find(user_id=user.id)
        notice = InboxNotice(
            id=cloud.ids.new("ntc"),
            tenant_id=member.tenant_id,
            user_id=user.id,
            key=title,
            kind="test",
            level=NoticeLevel.WARNING,
            title=title,
            text="It reaches zero soon.",
            link=link,
            created_at=cloud.clock.now(),
        )
        await unit.inbox_notices.add(notice)
