"""Signing up, in and out against the memory adapter, and who is resolved afterwards."""

from dataclasses import replace
from datetime import timedelta

import pytest

from access_builders import HOME, PASSWORD, AccessWorld
from gpucloud_core.access.model import PlatformRole, Role, SessionKind, TenantKind
from gpucloud_core.access.ports import AccessUnit
from gpucloud_core.access.projects import ListProjects, ReadMe
from gpucloud_core.access.session_life import ACCESS_LIFETIME, BROWSER_IDLE, GRACE, Client
from gpucloud_core.access.sessions import (
    ListSessions,
    Refresh,
    RefreshTokenInvalid,
    RefreshTokenReused,
    ResolveActor,
    RevokeSession,
    SignOut,
    Unauthenticated,
)
from gpucloud_core.access.sign_in import (
    AccountDisabled,
    InvalidCredentials,
    TooManyAttempts,
    UsernameTaken,
)
from gpucloud_core.kernel.errors import NotFound, ValidationFailed
from gpucloud_core.kernel.ids import SessionId
from gpucloud_core.kernel.unit import Scope

API, BROWSER = SessionKind.API, SessionKind.BROWSER
PLATFORM = Scope.platform()


@pytest.fixture
def world() -> AccessWorld:
    return AccessWorld()


class TestSignUp:
    async def test_makes_a_tenant_a_project_and_both_memberships(self, world: AccessWorld) -> None:
        actor = await world.actor("Ada")
        me = await ReadMe(transactions=world.transactions)(actor=actor)

        assert (me.tenant.tenant.kind, me.tenant.role) == (TenantKind.PERSONAL, Role.OWNER)
        assert [(p.project.name, p.role, p.is_default) for p in me.projects] == [
            ("Default", Role.OWNER, True)
        ]
        assert me.default_project_id == me.projects[0].project.id
        assert actor.project_roles == {me.default_project_id: Role.OWNER}
        assert me.user.username == "Ada"
        assert me.user.platform_role is PlatformRole.USER

    async def test_leaves_one_audit_row_without_a_secret(self, world: AccessWorld) -> None:
        signed_in = await world.signed_up()

        (row,) = await world.audited("user.sign_up")
        assert (row.user_id, row.tenant_id, row.ip) == (
            signed_in.user.id,
            signed_in.tenant_id,
            HOME.ip,
        )
        assert PASSWORD not in repr(row)

    async def test_names_every_fault_at_once_and_keeps_nothing(self, world: AccessWorld) -> None:
        with pytest.raises(ValidationFailed) as caught:
            await world.sign_up(username="a", password="short", email="x", kind=API, client=HOME)

        assert [fault.field for fault in caught.value.fields] == [
            "/username",
            "/password",
            "/email",
        ]
        async with world.transactions.begin(PLATFORM) as unit:
            assert await unit.users.count() == 0

    @pytest.mark.parametrize("name", ["ada", "ADA", "ａｄａ", " ada "])
    async def test_refuses_a_name_that_reads_like_one_taken(
        self, world: AccessWorld, name: str
    ) -> None:
        await world.signed_up("Ada")

        with pytest.raises(UsernameTaken):
            await world.signed_up(name)

        async with world.transactions.begin(PLATFORM) as unit:
            assert (await unit.tenants.count(), await unit.sessions.count()) == (1, 1)

    async def test_founds_what_other_concepts_add_or_nothing_at_all(
        self, world: AccessWorld
    ) -> None:
        async def refuse(unit: AccessUnit, tenant: object) -> None:
            raise RuntimeError("no account today")

        with pytest.raises(RuntimeError):
            await replace(world.sign_up, founding=[refuse])(
                username="ada", password=PASSWORD, kind=API, client=HOME
            )

        async with world.transactions.begin(PLATFORM) as unit:
            assert (await unit.users.count(), await unit.tenants.count()) == (0, 0)

    async def test_is_limited_per_address(self, world: AccessWorld) -> None:
        for number in range(world.sign_up.limits.sign_up_address.attempts):
            await world.signed_up(f"user-{number}")

        with pytest.raises(TooManyAttempts) as caught:
            await world.signed_up("one-more")

        assert caught.value.retry_after_seconds == 3600
        world.clock.pass_(timedelta(hours=1))
        await world.signed_up("one-more")


class TestSignIn:
    async def test_takes_the_password_however_it_was_composed(self, world: AccessWorld) -> None:
        await world.sign_up(username="ada", password="cafe\u0301 au lait", kind=API, client=HOME)

        again = await world.sign_in(
            username="ADA", password="caf\u00e9 au lait", kind=API, client=HOME
        )

        assert again.user.username == "ada"

    async def test_says_the_same_to_an_unknown_name_and_a_wrong_password(
        self, world: AccessWorld
    ) -> None:
        await world.signed_up("ada")
        refusals = []
        for name, password in (("ada", "wrong password"), ("nobody", "wrong password")):
            with pytest.raises(InvalidCredentials) as caught:
                await world.sign_in(username=name, password=password, kind=API, client=HOME)
            refusals.append((caught.value.code, caught.value.detail, caught.value.fields))

        assert refusals[0] == refusals[1]
        assert [row.result for row in await world.audited("user.sign_in")] == ["denied", "denied"]

    async def test_gives_each_session_its_own_tokens(self, world: AccessWorld) -> None:
        first = await world.signed_up()
        second = await world.sign_in(username="ada", password=PASSWORD, kind=API, client=HOME)

        assert first.session.id != second.session.id
        assert first.tokens.access_token != second.tokens.access_token

    async def test_stores_no_token_in_clear(self, world: AccessWorld) -> None:
        signed_in = await world.signed_up()

        stored = repr(signed_in.session)
        assert signed_in.tokens.access_token not in stored
        assert str(signed_in.tokens.refresh_token) not in stored

    async def test_refuses_a_disabled_account_only_to_its_owner(self, world: AccessWorld) -> None:
        signed_in = await world.signed_up()
        async with world.transactions.begin(PLATFORM) as unit:
            await unit.users.put(replace(signed_in.user, disabled_at=world.clock.now()))

        with pytest.raises(AccountDisabled):
            await world.sign_in(username="ada", password=PASSWORD, kind=API, client=HOME)
        with pytest.raises(InvalidCredentials):
            await world.sign_in(username="ada", password="a guess at it", kind=API, client=HOME)

    async def test_cannot_be_locked_by_somebody_elsewhere(self, world: AccessWorld) -> None:
        await world.signed_up()
        attacker = Client(ip="198.51.100.7")
        for _ in range(world.sign_in.limits.sign_in_account_and_address.attempts):
            with pytest.raises(InvalidCredentials):
                await world.sign_in(
                    username="ada", password="wrong guess", kind=API, client=attacker
                )

        with pytest.raises(TooManyAttempts) as caught:
            await world.sign_in(username="Ada ", password=PASSWORD, kind=API, client=attacker)

        assert caught.value.retry_after_seconds == 600
        assert await world.sign_in(username="ada", password=PASSWORD, kind=API, client=HOME)

    async def test_counts_one_customers_ipv6_addresses_as_one(self, world: AccessWorld) -> None:
        for number in range(world.sign_in.limits.sign_in_account_and_address.attempts):
            with pytest.raises(InvalidCredentials):
                await world.sign_in(
                    username="ada",
                    password="wrong guess",
                    kind=API,
                    client=Client(ip=f"2001:db8::{number:x}"),
                )

        with pytest.raises(TooManyAttempts):
            await world.sign_in(
                username="ada",
                password="wrong guess",
                kind=API,
                client=Client(ip="2001:db8::ffff"),
            )


class TestResolveActor:
    @pytest.fixture
    def resolve(self, world: AccessWorld) -> ResolveActor:
        return ResolveActor(transactions=world.transactions)

    async def test_says_who_and_in_which_roles(
        self, world: AccessWorld, resolve: ResolveActor
    ) -> None:
        signed_in = await world.signed_up(kind=BROWSER)
        here = Client(ip="192.0.2.9", user_agent="firefox", correlation_id="req-7", via="ui")

        actor = await resolve(token=signed_in.tokens.access_token, kind=BROWSER, client=here)

        assert (actor.user_id, actor.tenant_id) == (signed_in.user.id, signed_in.tenant_id)
        assert actor.tenant_role is Role.OWNER
        assert actor.session_id == signed_in.session.id
        assert (actor.via, actor.correlation_id, actor.ip) == ("ui", "req-7", "192.0.2.9")

    async def test_takes_no_cookie_for_a_bearer_token(
        self, world: AccessWorld, resolve: ResolveActor
    ) -> None:
        signed_in = await world.signed_up(kind=BROWSER)

        with pytest.raises(Unauthenticated):
            await resolve(token=signed_in.tokens.access_token, kind=API, client=HOME)

    @pytest.mark.parametrize("token", ["", "made-up", "ses_00000000000000000000000001"])
    async def test_knows_no_made_up_token(self, resolve: ResolveActor, token: str) -> None:
        with pytest.raises(Unauthenticated):
            await resolve(token=token, kind=API, client=HOME)

    async def test_takes_no_refresh_token(self, world: AccessWorld, resolve: ResolveActor) -> None:
        signed_in = await world.signed_up()

        with pytest.raises(Unauthenticated):
            await resolve(token=str(signed_in.tokens.refresh_token), kind=API, client=HOME)

    @pytest.mark.parametrize(("kind", "life"), [(API, ACCESS_LIFETIME), (BROWSER, BROWSER_IDLE)])
    async def test_refuses_from_the_instant_the_token_ends(
        self, world: AccessWorld, resolve: ResolveActor, kind: SessionKind, life: timedelta
    ) -> None:
        token = (await world.signed_up(kind=kind)).tokens.access_token
        world.clock.pass_(life)

        with pytest.raises(Unauthenticated):
            await resolve(token=token, kind=kind, client=HOME)

    async def test_moves_a_browsers_idle_limit_on(
        self, world: AccessWorld, resolve: ResolveActor
    ) -> None:
        token = (await world.signed_up(kind=BROWSER)).tokens.access_token
        for _ in range(3):
            world.clock.pass_(BROWSER_IDLE - timedelta(hours=1))
            assert await resolve(token=token, kind=BROWSER, client=HOME)

    async def test_refuses_a_user_disabled_meanwhile(
        self, world: AccessWorld, resolve: ResolveActor
    ) -> None:
        signed_in = await world.signed_up()
        async with world.transactions.begin(PLATFORM) as unit:
            await unit.users.put(replace(signed_in.user, disabled_at=world.clock.now()))

        with pytest.raises(Unauthenticated):
            await resolve(token=signed_in.tokens.access_token, kind=API, client=HOME)

    async def test_gives_a_former_member_no_role(
        self, world: AccessWorld, resolve: ResolveActor
    ) -> None:
        signed_in = await world.signed_up()
        async with world.transactions.begin(PLATFORM) as unit:
            await unit.tenant_members.delete(f"{signed_in.tenant_id}/{signed_in.user.id}")

        actor = await resolve(token=signed_in.tokens.access_token, kind=API, client=HOME)

        assert actor.tenant_role is None
        assert actor.project_roles == {}


class TestRefresh:
    @pytest.fixture
    def refresh(self, world: AccessWorld) -> Refresh:
        return Refresh(transactions=world.transactions, secrets=world.secrets)

    async def test_gives_tokens_that_work_and_ends_the_old_ones(
        self, world: AccessWorld, refresh: Refresh
    ) -> None:
        signed_in = await world.signed_up()
        resolve = ResolveActor(transactions=world.transactions)

        tokens = await refresh(refresh_token=str(signed_in.tokens.refresh_token), client=HOME)

        assert await resolve(token=tokens.access_token, kind=API, client=HOME)
        with pytest.raises(Unauthenticated):
            await resolve(token=signed_in.tokens.access_token, kind=API, client=HOME)

    async def test_answers_two_honest_tabs_alike(
        self, world: AccessWorld, refresh: Refresh
    ) -> None:
        token = str((await world.signed_up()).tokens.refresh_token)

        one = await refresh(refresh_token=token, client=HOME)
        world.clock.pass_(GRACE - timedelta(seconds=1))
        other = await refresh(refresh_token=token, client=HOME)

        assert one == other
        world.clock.pass_(timedelta(days=1))
        assert await refresh(refresh_token=str(other.refresh_token), client=HOME)

    async def test_ends_the_session_on_a_replay_and_says_so_in_the_audit(
        self, world: AccessWorld, refresh: Refresh
    ) -> None:
        signed_in = await world.signed_up()
        spent = str(signed_in.tokens.refresh_token)
        newest = await refresh(refresh_token=spent, client=HOME)
        world.clock.pass_(GRACE)

        with pytest.raises(RefreshTokenReused):
            await refresh(refresh_token=spent, client=Client(ip="198.51.100.7"))

        with pytest.raises(RefreshTokenInvalid):
            await refresh(refresh_token=str(newest.refresh_token), client=HOME)
        with pytest.raises(Unauthenticated):
            await ResolveActor(transactions=world.transactions)(
                token=newest.access_token, kind=API, client=HOME
            )
        (row,) = await world.audited("session.refresh_reused")
        assert (row.target, row.ip, row.result) == (
            signed_in.session.id,
            "198.51.100.7",
            "denied",
        )

    @pytest.mark.parametrize("token", ["", "x", "a.b", "secret-1", "secret-1."])
    async def test_refuses_what_it_never_gave(self, refresh: Refresh, token: str) -> None:
        with pytest.raises(RefreshTokenInvalid):
            await refresh(refresh_token=token, client=HOME)

    async def test_cannot_be_made_to_end_a_session_by_its_id(
        self, world: AccessWorld, refresh: Refresh
    ) -> None:
        signed_in = await world.signed_up()

        with pytest.raises(RefreshTokenInvalid):
            await refresh(refresh_token=f"{signed_in.session.id}.x", client=HOME)

        assert await refresh(refresh_token=str(signed_in.tokens.refresh_token), client=HOME)


class TestSessions:
    async def test_are_listed_and_ended_one_by_one(self, world: AccessWorld) -> None:
        actor = await world.actor()
        world.clock.pass_(timedelta(minutes=1))
        lost = await world.sign_in(username="ada", password=PASSWORD, kind=BROWSER, client=HOME)
        sessions = ListSessions(transactions=world.transactions)
        assert [s.id for s in await sessions(actor=actor)] == [lost.session.id, actor.session_id]

        await RevokeSession(transactions=world.transactions)(
            actor=actor, session_id=lost.session.id
        )

        assert [s.id for s in await sessions(actor=actor)] == [actor.session_id]
        with pytest.raises(Unauthenticated):
            await ResolveActor(transactions=world.transactions)(
                token=lost.tokens.access_token, kind=BROWSER, client=HOME
            )

    async def test_of_others_are_not_found(self, world: AccessWorld) -> None:
        actor, other = await world.actor("ada"), await world.signed_up("bob")
        revoke = RevokeSession(transactions=world.transactions)

        for session_id in (other.session.id, SessionId("ses_00000000000000000000000099")):
            with pytest.raises(NotFound):
                await revoke(actor=actor, session_id=session_id)

    async def test_end_at_sign_out_and_stay_ended(self, world: AccessWorld) -> None:
        actor = await world.actor()
        sign_out = SignOut(transactions=world.transactions)

        await sign_out(actor=actor)
        await sign_out(actor=actor)

        assert len(await world.audited("session.signed_out")) == 1


class TestListProjects:
    async def test_names_only_the_actors_own(self, world: AccessWorld) -> None:
        ada, bob = await world.actor("ada"), await world.actor("bob")
        projects = ListProjects(transactions=world.transactions)

        (one,) = await projects(actor=ada)
        (other,) = await projects(actor=bob)

        assert one.project.tenant_id == ada.tenant_id
        assert other.project.tenant_id == bob.tenant_id
