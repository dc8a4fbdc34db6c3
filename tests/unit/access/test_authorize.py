"""The table of who may do what, read through every kind of actor."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_core.access.authorize import (
    GRANTS,
    Action,
    Allowed,
    Denied,
    Forbidden,
    InProject,
    InTenant,
    OnPlatform,
    authorize,
    require,
    visible_projects,
)
from gpucloud_core.access.model import Actor, PlatformRole, Role
from gpucloud_core.kernel.errors import NotFound
from gpucloud_core.kernel.ids import ProjectId, TenantId, UserId

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
OURS, THEIRS = TenantId("ten_ours"), TenantId("ten_theirs")
RED, BLUE = ProjectId("prj_red"), ProjectId("prj_blue")
STRONGEST_FIRST = [Role.OWNER, Role.ADMIN, Role.MEMBER, Role.VIEWER, None]

actions = st.sampled_from(Action)
roles = st.sampled_from(STRONGEST_FIRST)
platform_roles = st.sampled_from(PlatformRole)
projects = st.sampled_from([RED, BLUE, None])


def an_actor(
    tenant_role: Role | None = None,
    projects: Mapping[ProjectId, Role] | None = None,
    platform_role: PlatformRole = PlatformRole.USER,
) -> Actor:
    return Actor(
        user_id=UserId("usr_1"),
        username="ada",
        tenant_id=OURS,
        tenant_role=tenant_role,
        platform_role=platform_role,
        project_roles=projects or {},
    )


actors = st.builds(
    an_actor,
    tenant_role=roles,
    projects=st.dictionaries(st.sampled_from([RED, BLUE]), st.sampled_from(Role)),
    platform_role=platform_roles,
)


def may(
    actor: Actor, action: Action, project: ProjectId | None, tenant: TenantId | None = OURS
) -> bool:
    answer = authorize(actor, action, tenant_id=tenant, project_id=project)
    return isinstance(answer, Allowed)


class TestTheTable:
    def test_has_a_row_for_every_action(self) -> None:
        assert set(GRANTS) == set(Action)

    def test_names_no_platform_role_user(self) -> None:
        named = {
            role
            for grant in GRANTS.values()
            if isinstance(grant, OnPlatform)
            for role in grant.roles
        }

        assert PlatformRole.USER not in named

    def test_keeps_the_billing_operator_away_from_compute(self) -> None:
        compute = [a for a in Action if a.split(".")[0] in {"allocation", "any_allocation", "node"}]
        operator = an_actor(platform_role=PlatformRole.BILLING_OPERATOR)

        assert compute
        assert not [action for action in compute if may(operator, action, RED)]

    def test_keeps_operations_away_from_money_and_users(self) -> None:
        ops = an_actor(platform_role=PlatformRole.OPS)
        money = {"billing", "any_payment", "any_balance", "user", "tenant"}

        assert not [a for a in Action if a.split(".")[0] in money and may(ops, a, None)]


class TestAuthorize:
    @given(action=actions, project=projects, data=st.data())
    def test_never_gives_a_stronger_tenant_role_less(
        self, action: Action, project: ProjectId | None, data: st.DataObject
    ) -> None:
        strong, weak = sorted([data.draw(roles), data.draw(roles)], key=STRONGEST_FIRST.index)
        in_project = data.draw(st.dictionaries(st.just(RED), st.sampled_from(Role)))

        if may(an_actor(weak, in_project), action, project):
            assert may(an_actor(strong, in_project), action, project)

    @given(action=actions, tenant_role=roles, data=st.data())
    def test_never_gives_a_stronger_project_role_less(
        self, action: Action, tenant_role: Role | None, data: st.DataObject
    ) -> None:
        strong, weak = sorted(
            [data.draw(st.sampled_from(Role)), data.draw(st.sampled_from(Role))],
            key=STRONGEST_FIRST.index,
        )

        if may(an_actor(tenant_role, {RED: weak}), action, RED):
            assert may(an_actor(tenant_role, {RED: strong}), action, RED)

    @given(actor=actors, action=actions, project=projects)
    def test_hides_another_tenants_objects_from_everyone(
        self, actor: Actor, action: Action, project: ProjectId | None
    ) -> None:
        answer = authorize(actor, action, tenant_id=THEIRS, project_id=project)

        if not isinstance(GRANTS[action], OnPlatform):
            assert isinstance(answer, Denied)
            assert answer.hidden

    @given(action=actions, actor=actors)
    def test_asks_only_the_platform_role_on_the_platform(
        self, action: Action, actor: Actor
    ) -> None:
        grant = GRANTS[action]
        if isinstance(grant, OnPlatform):
            assert may(actor, action, None, tenant=None) == (actor.platform_role in grant.roles)

    @given(action=actions, role=st.sampled_from(Role), platform_role=platform_roles)
    def test_gives_platform_people_nothing_inside_a_tenant(
        self, action: Action, role: Role, platform_role: PlatformRole
    ) -> None:
        if isinstance(GRANTS[action], OnPlatform):
            return

        plain = may(an_actor(role, {RED: role}), action, RED)

        assert may(an_actor(role, {RED: role}, platform_role), action, RED) == plain

    @pytest.mark.parametrize("role", [Role.OWNER, Role.ADMIN])
    def test_lets_tenant_owners_and_admins_into_each_project(self, role: Role) -> None:
        assert may(an_actor(role), Action.ALLOCATION_LAUNCH, BLUE)

    @pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
    def test_does_not_let_other_members_into_projects_they_are_not_in(self, role: Role) -> None:
        answer = authorize(
            an_actor(role, {RED: Role.OWNER}),
            Action.ALLOCATION_READ,
            tenant_id=OURS,
            project_id=BLUE,
        )

        assert isinstance(answer, Denied)
        assert answer.hidden

    def test_says_which_role_it_takes(self) -> None:
        answer = authorize(
            an_actor(Role.VIEWER, {RED: Role.VIEWER}),
            Action.ALLOCATION_LAUNCH,
            tenant_id=OURS,
            project_id=RED,
        )

        assert answer == Denied("As viewer you may not do this.", "member of the project")

    def test_lets_a_member_read_the_balance_but_not_pay(self) -> None:
        member = an_actor(Role.MEMBER)

        assert may(member, Action.BILLING_READ, None)
        assert not may(member, Action.BILLING_PAY, None)


class TestRequire:
    @given(actor=actors, action=actions, project=projects)
    def test_agrees_with_authorize(
        self, actor: Actor, action: Action, project: ProjectId | None
    ) -> None:
        answer = authorize(actor, action, tenant_id=OURS, project_id=project)

        if isinstance(answer, Allowed):
            require(actor, action, tenant_id=OURS, project_id=project)
        else:
            with pytest.raises(NotFound if answer.hidden else Forbidden):
                require(actor, action, tenant_id=OURS, project_id=project)

    def test_names_the_role_it_takes(self) -> None:
        with pytest.raises(Forbidden, match="admin of the tenant"):
            require(an_actor(Role.MEMBER), Action.BILLING_PAY, tenant_id=OURS)


class TestVisibleProjects:
    @given(actor=actors, action=actions.filter(lambda a: isinstance(GRANTS[a], InProject)))
    def test_names_exactly_the_projects_where_it_is_allowed(
        self, actor: Actor, action: Action
    ) -> None:
        visible = visible_projects(actor, action)

        for project in (RED, BLUE):
            expected = visible is None or project in visible
            assert may(actor, action, project) == expected

    def test_is_all_of_them_for_what_needs_no_project(self) -> None:
        assert isinstance(GRANTS[Action.BILLING_READ], InTenant)
        assert visible_projects(an_actor(Role.VIEWER), Action.BILLING_READ) is None
