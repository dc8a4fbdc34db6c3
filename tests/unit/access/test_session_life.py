"""Sessions under any order of honest and stolen use.

Seen to fail when a repeat within the grace began the grace anew, and when a rotation older than
the previous one was taken for a stranger's instead of a replay.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gpucloud_core.access.model import Session, SessionKind
from gpucloud_core.access.session_life import (
    ACCESS_LIFETIME,
    BROWSER_IDLE,
    GRACE,
    LIFETIME,
    SEEN_EVERY,
    Client,
    EndReason,
    Over,
    Replayed,
    Rotated,
    Tokens,
    admits,
    end,
    family_of,
    is_alive,
    open_session,
    rotate,
    seen,
    session_id_of,
    token_hash,
)
from gpucloud_core.kernel.ids import TenantId, UserId, parse_id

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def opened(kind: SessionKind = SessionKind.API, now: datetime = NOON) -> tuple[Session, Tokens]:
    return open_session(
        kind=kind,
        user_id=UserId("usr_1"),
        tenant_id=TenantId("ten_1"),
        client=Client(ip="192.0.2.1", user_agent="test"),
        family="family-secret",
        secret="another-secret",
        now=now,
    )


def refresh_of(tokens: Tokens) -> str:
    assert tokens.refresh_token is not None
    return tokens.refresh_token


class RotationMachine(RuleBasedStateMachine):
    """The model is the chain of refresh tokens in the order they were first issued."""

    def __init__(self) -> None:
        super().__init__()
        self.session, tokens = opened()
        self.chain = [tokens]
        self.now = NOON
        self.rotated_at = NOON - GRACE
        self.is_over = False

    @rule(seconds=st.sampled_from([4, 6, 10, 900]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def the_newest_token_is_used(self) -> None:
        self.present(len(self.chain) - 1)

    @rule()
    def another_tab_uses_the_token_before(self) -> None:
        self.present(max(0, len(self.chain) - 2))

    @precondition(lambda self: len(self.chain) > 4)
    @rule(age=st.integers(2, 4))
    def a_stolen_old_token_is_used(self, age: int) -> None:
        self.present(len(self.chain) - 1 - age)

    def present(self, index: int) -> None:
        token = refresh_of(self.chain[index])
        newest = len(self.chain) - 1

        outcome = rotate(self.session, token, salt=f"salt-{newest}-{self.now}", now=self.now)

        if self.is_over:
            assert isinstance(outcome, Over)
        elif index == newest:
            assert isinstance(outcome, Rotated)
            self.session, self.rotated_at = outcome.session, self.now
            self.chain.append(outcome.tokens)
        elif index == newest - 1 and self.now < self.rotated_at + GRACE:
            assert isinstance(outcome, Rotated)
            assert outcome.tokens == self.chain[newest]
            self.session = outcome.session
        else:
            assert isinstance(outcome, Replayed)
            self.session, self.is_over = outcome.session, True

    @invariant()
    def ends_exactly_when_a_spent_token_came_back(self) -> None:
        assert (self.session.revoked_at is not None) == self.is_over
        if self.is_over:
            assert self.session.revoked_reason == EndReason.REFRESH_REUSED
            assert not admits(self.session, self.now)

    @invariant()
    def only_the_newest_access_token_is_known(self) -> None:
        hashes = [token_hash(tokens.access_token) for tokens in self.chain]
        assert [h for h in hashes if h == self.session.access_hash] == [hashes[-1]]

    @invariant()
    def nothing_issued_is_stored_in_clear(self) -> None:
        stored = repr(self.session)
        for tokens in self.chain:
            assert tokens.access_token not in stored
            assert refresh_of(tokens) not in stored


TestRotation = RotationMachine.TestCase
TestRotation.settings = settings(max_examples=100, stateful_step_count=20, deadline=None)


class TestRotate:
    def test_ends_the_session_of_whoever_was_robbed_and_of_the_thief(self) -> None:
        session, first = opened()
        stolen = refresh_of(first)
        honest = rotate(session, stolen, salt="s1", now=NOON)
        assert isinstance(honest, Rotated)

        thief = rotate(honest.session, stolen, salt="s2", now=NOON + timedelta(minutes=1))

        assert isinstance(thief, Replayed)
        later = NOON + timedelta(minutes=2)
        assert rotate(thief.session, refresh_of(honest.tokens), salt="s3", now=later) == Over()

    def test_refuses_a_browser_session(self) -> None:
        session, _ = opened(SessionKind.BROWSER)

        assert rotate(session, "family-secret.x", salt="s", now=NOON) == Over()

    def test_never_outlives_the_absolute_end(self) -> None:
        session, tokens = opened()
        late = NOON + LIFETIME - timedelta(seconds=60)

        outcome = rotate(session, refresh_of(tokens), salt="s", now=late)

        assert isinstance(outcome, Rotated)
        assert outcome.tokens.access_expires_at == session.ends_at
        assert rotate(outcome.session, "f.x", salt="s", now=session.ends_at) == Over()

    def test_gives_tokens_that_do_not_follow_from_the_old_one_alone(self) -> None:
        session, tokens = opened()

        one = rotate(session, refresh_of(tokens), salt="s1", now=NOON)
        other = rotate(session, refresh_of(tokens), salt="s2", now=NOON)

        assert isinstance(one, Rotated)
        assert isinstance(other, Rotated)
        assert one.tokens.access_token != other.tokens.access_token
        assert one.tokens.refresh_token != other.tokens.refresh_token


class TestFamilyOf:
    def test_is_the_secret_the_session_id_is_made_of(self) -> None:
        session, tokens = opened()

        family = family_of(refresh_of(tokens))

        assert family is not None
        assert session_id_of(family) == session.id
        assert parse_id("ses", session.id) == session.id

    @pytest.mark.parametrize("text", ["", ".", "a.", ".b", "no-dot", "fämily.x"])
    def test_is_none_for_what_was_never_a_token(self, text: str) -> None:
        assert family_of(text) is None


class TestASession:
    @given(seconds=st.integers(0, int(BROWSER_IDLE.total_seconds()) * 2))
    def test_of_a_browser_ends_after_twelve_idle_hours(self, seconds: int) -> None:
        session, _ = opened(SessionKind.BROWSER)
        now = NOON + timedelta(seconds=seconds)

        assert admits(session, now) == (now < NOON + BROWSER_IDLE)
        assert is_alive(session, now) == admits(session, now)

    def test_of_a_browser_lives_on_while_it_is_used_but_only_thirty_days(self) -> None:
        session, _ = opened(SessionKind.BROWSER)
        now = NOON
        while admits(session, now):
            session = seen(session, now) or session
            now += BROWSER_IDLE - timedelta(hours=1)

        assert NOON + LIFETIME <= now < NOON + LIFETIME + BROWSER_IDLE

    def test_of_a_program_outlives_its_access_token(self) -> None:
        session, _ = opened()
        now = NOON + ACCESS_LIFETIME

        assert not admits(session, now)
        assert is_alive(session, now)

    def test_is_written_at_most_once_in_five_minutes(self) -> None:
        session, _ = opened(SessionKind.BROWSER)

        assert seen(session, NOON + SEEN_EVERY - timedelta(seconds=1)) is None
        assert seen(session, NOON + SEEN_EVERY) is not None

    def test_keeps_the_first_reason_it_ended_for(self) -> None:
        session, _ = opened()

        ended = end(session, EndReason.SIGNED_OUT, NOON)

        assert end(ended, EndReason.REVOKED, NOON + GRACE) == ended
        assert not admits(ended, NOON)

    def test_does_not_print_its_tokens(self) -> None:
        _, tokens = opened()

        assert tokens.access_token not in repr(tokens)

    def test_takes_no_endless_user_agent(self) -> None:
        session, _ = open_session(
            kind=SessionKind.API,
            user_id=UserId("usr_1"),
            tenant_id=TenantId("ten_1"),
            client=Client(user_agent="x" * 10_000),
            family="f",
            secret="s",
            now=NOON,
        )

        assert len(session.user_agent) == 400
        assert replace(session, user_agent="") != session
