"""The attention page: what is so, who is on it, what may wait, and who may see it."""

from dataclasses import replace

import pytest

from gpucloud_adapters.memory.cloud import MemoryCloud
from gpucloud_adapters.stored.kinds import ATTENTION_ROWS, TENANTS, USERS
from gpucloud_core.access.model import PlatformRole
from gpucloud_core.kernel.outbox import StoredEvent
from gpucloud_core.kernel.unit import Event, Scope
from gpucloud_core.notices.model import AttentionRow
from gpucloud_core.notices.tell import TellPeople
from page_visitor import PageVisitor

PAGE = "/ops/attention"


@pytest.fixture
async def olga(visitor: PageVisitor) -> PageVisitor:
    """An operator, in a cloud where money is set aside for nothing."""
    await visitor.arrive("olga")
    cloud = visitor.cloud
    async with cloud.transactions.begin(Scope.platform()) as unit:
        (user,) = cloud.transactions.database.rows(USERS)
        await unit.users.put(replace(user, platform_role=PlatformRole.OPS))
    await raised(cloud, "drift.stray_hold")
    return visitor


async def raised(cloud: MemoryCloud, kind: str) -> None:
    (tenant,) = cloud.transactions.database.rows(TENANTS)
    event = Event(kind=kind, subject=tenant.id, payload={"expected": "nothing", "found": "$3.29"})
    tell = TellPeople(transactions=cloud.transactions, ids=cloud.ids)
    await tell(StoredEvent(id=1, event=event, created_at=cloud.clock.now()))


def only(olga: PageVisitor) -> AttentionRow:
    (row,) = olga.cloud.transactions.database.rows(ATTENTION_ROWS)
    return row


class TestAttentionPage:
    async def test_lists_what_is_so_with_its_facts(self, olga: PageVisitor) -> None:
        page = await olga.get(PAGE)

        assert only(olga).title in page.text
        assert "found: $3.29" in page.text
        assert "Nobody" in page.text

    async def test_takes_it_on_with_a_reason(self, olga: PageVisitor) -> None:
        place = f"{PAGE}/{only(olga).id}/acknowledge"
        asked = await olga.get(place)
        refused = await olga.submit(asked, place, {"reason": " "})
        assert refused.status_code == 422
        assert "Say why" in refused.text

        shown = await olga.follow(await olga.submit(refused, place, {"reason": "counting it"}))

        assert "counting it" in shown.text
        assert only(olga).acknowledged_by == "olga"
        nobody = await olga.get(f"{PAGE}?view=new")
        assert "No matches" in nobody.text

    async def test_puts_it_off(self, olga: PageVisitor) -> None:
        place = f"{PAGE}/{only(olga).id}/snooze"
        asked = await olga.get(place)

        answer = await olga.submit(asked, place, {"reason": "after the audit", "for": "1d"})
        shown = await olga.follow(answer)

        assert "Snoozed until" in shown.text
        assert "after the audit" in shown.text

    async def test_narrows_to_a_severity(self, olga: PageVisitor) -> None:
        title, severity = only(olga).title, only(olga).severity
        assert title in (await olga.get(f"{PAGE}?severity={severity}")).text
        assert title not in (await olga.get(f"{PAGE}?severity=critical")).text

    async def test_is_restricted_for_others(self, visitor: PageVisitor) -> None:
        await visitor.arrive("eve")

        for path in (PAGE, f"{PAGE}/att_00000000000000000000000000/snooze"):
            page = await visitor.get(path)
            assert page.status_code == 403
            assert "No matches" not in page.text
