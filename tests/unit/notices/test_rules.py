"""Each event says one thing to the right people, in words they can act on."""

import pytest

from gpucloud_core.allocations.model import AllocationState
from gpucloud_core.kernel.ids import NodeId
from gpucloud_core.kernel.unit import Event, Json
from gpucloud_core.notices.model import NoticeLevel, Severity
from gpucloud_core.notices.rules import RULES, told_by
from gpucloud_core.notices.told import NOTHING, Clear, Known
from row_builders import NOW, a_claim, a_project, a_session, a_task, a_tenant, a_user, an_allocation

TENANT, USER = a_tenant(), a_user()
PROJECT = a_project(TENANT.id)
TASK = a_task(TENANT.id, PROJECT.id)
CLAIM = a_claim(TENANT.id, NodeId("nod_1"), 1)


def about(kind: str, **payload: Json) -> Event:
    return Event(kind=kind, subject="x", tenant_id=TENANT.id, payload=payload)


def known(**given: object) -> Known:
    return Known(allocation=an_allocation(CLAIM, TASK, USER.id, name="training", **given))


class TestMoney:
    @pytest.mark.parametrize(
        ("level", "tone", "says"),
        [
            ("low", NoticeLevel.WARNING, "getting low"),
            ("1h", NoticeLevel.WARNING, "less than an hour"),
            ("0", NoticeLevel.BAD, "used up"),
        ],
    )
    def test_tells_the_owners_how_long_it_lasts(
        self, level: str, tone: NoticeLevel, says: str
    ) -> None:
        event = about(
            "billing.notice",
            level=level,
            available_micros=12_349_999,
            burn_rate_micros_per_hour=3_290_000,
            currency="USD",
        )

        (draft,) = told_by(event, Known()).notices

        assert draft.user_id is None
        assert (draft.level, draft.link) == (tone, "/billing")
        assert says in draft.title
        assert "$12.34 is left, and what runs costs $3.29 an hour" in draft.text

    def test_says_when_an_account_is_suspended_and_not_when_it_is_well(self) -> None:
        suspended = about("billing.standing_changed", **{"from": "healthy", "to": "suspended"})
        well = about("billing.standing_changed", **{"from": "low", "to": "healthy"})

        assert told_by(suspended, Known()).notices[0].level is NoticeLevel.BAD
        assert told_by(well, Known()) == NOTHING

    def test_gives_a_stray_payment_to_operators_alone(self) -> None:
        told = told_by(about("payment.unmatched", event_id="evt_1"), Known())

        assert told.notices == ()
        assert told.raises[0].severity is Severity.CRITICAL
        assert told.raises[0].facts == {"event_id": "evt_1"}


class TestMachines:
    def test_are_announced_when_they_are_first_ready(self) -> None:
        state = AllocationState.ACTIVE
        first = known(state=state, active_at=NOW, state_since=NOW)
        again = known(state=state, active_at=NOW.replace(year=2025), state_since=NOW)

        (draft,) = told_by(about("allocation.active"), first).notices

        assert (draft.user_id, draft.title) == (USER.id, "training is ready")
        recovered = told_by(about("allocation.active"), again)
        assert recovered.notices == ()
        assert recovered.clears == (Clear(kind="allocation.degraded", subject="x"),)

    def test_that_failed_say_why_and_what_it_cost(self) -> None:
        told = told_by(about("allocation.failed"), known(failure_reason="node_unreachable"))

        (draft,) = told.notices
        assert "did not answer" in draft.text
        assert "Launch again" in draft.text
        assert [(each.kind, each.subject) for each in told.raises] == [("node.failing", "nod_1")]

    def test_that_failed_through_no_fault_of_the_node_bother_no_operator(self) -> None:
        told = told_by(about("allocation.failed"), known(failure_reason="launch_failed"))

        assert len(told.notices) == 1
        assert told.raises == ()

    def test_whose_release_failed_are_critical_until_they_are_released(self) -> None:
        told = told_by(about("allocation.release_failed"), known())
        over = told_by(about("allocation.released"), known())

        assert told.raises[0].severity is Severity.CRITICAL
        assert told.raises[0].kind in {each.kind for each in over.clears}

    @pytest.mark.parametrize("kind", [kind for kind in RULES if kind.startswith("allocation.")])
    def test_that_are_gone_break_nothing(self, kind: str) -> None:
        assert told_by(about(kind), Known()).notices == ()


class TestThePlatform:
    def test_tells_operators_of_every_drift(self) -> None:
        (raised,) = told_by(about("drift.stray_machine", node_id="nod_1"), Known()).raises

        assert raised.kind == "drift.stray_machine"
        assert raised.title == "Rows and reality disagree: stray machine"

    def test_tells_a_person_that_their_token_was_copied(self) -> None:
        session = a_session(TENANT.id, USER.id)

        (draft,) = told_by(about("session.refresh_reused"), Known(session=session)).notices

        assert draft.user_id == USER.id

    def test_tells_a_person_that_their_password_was_changed(self) -> None:
        event = Event(kind="user.password_changed", subject=USER.id, tenant_id=TENANT.id)

        (draft,) = told_by(event, Known()).notices

        assert draft.user_id == USER.id

    def test_keeps_quiet_about_the_rest(self) -> None:
        assert told_by(about("task.queued"), Known()) == NOTHING
