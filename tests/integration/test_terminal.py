"""Terminals through the gateway: they come back whole, stay bounded, and end when they must.

Everything is the product's but the node: shells are strings that the test prints to. Seen to fail
when input was still taken from a socket that another had replaced (typed twice, in a random order
of things), when a shell was read on while nobody could follow, when a session was found by its
name alone, when the origin was compared by its beginning, when whoever came back too late was told
nothing but that the session is not there, and when a terminal outlived the end that was recorded.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from gpucloud_adapters.memory.database import Table
from gpucloud_adapters.stored.kinds import TERMINAL_LEASES
from gpucloud_core.access.sessions import RevokeSession
from gpucloud_core.allocations.model import TerminalLease
from gpucloud_core.allocations.terminal import Holder
from gpucloud_core.allocations.terminal_life import TerminalLimits
from gpucloud_core.allocations.terminal_record import LEASE, CloseLostTerminals, RecordTerminal
from gpucloud_core.kernel.audit import AuditRow
from gpucloud_core.kernel.errors import Unavailable
from gpucloud_core.kernel.ids import AllocationId, TenantId, UserId
from gpucloud_core.kernel.unit import Scope
from gpucloud_web.terminals import held, registry
from world.terminals import Client, Gateway, StringShell, StringShells, gateway, level

pytestmark = pytest.mark.timeout(120)
MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "TICK_SECONDS", 0.05)


@dataclass
class Hands:
    """A clock that is turned by hand."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def hands(gate: Gateway, monkeypatch: pytest.MonkeyPatch) -> Hands:
    """What the terminals' lives are counted by."""
    turned = Hands()
    monkeypatch.setattr(gate.terminals, "clock", turned)
    return turned


@pytest.fixture
def shells() -> StringShells:
    return StringShells()


@pytest.fixture
async def gate(shells: StringShells) -> AsyncIterator[Gateway]:
    async with gateway(shells) as opened:
        yield opened


async def opened(gate: Gateway, shells: StringShells) -> tuple[Client, StringShell]:
    client = gate.client()
    await client.connect()
    return client, shells.opened[-1]


class TestComingBack:
    async def test_loses_nothing_and_doubles_nothing_either_way(
        self, gate: Gateway, shells: StringShells
    ) -> None:
        client, shell = await opened(gate, shells)
        expected_screen = expected_typed = b""
        for turn in range(6):
            before, after = f"out {turn} ".encode() * 40, f"away {turn} ".encode() * 40
            await client.type(b"typed %d;" % turn)
            shell.print(before)
            if turn % 2:
                await client.shows(before[-20:])
            client.drop()
            await client.type(b"while away %d;" % turn)
            shell.print(after)
            expected_screen += before + after
            expected_typed += b"typed %d;while away %d;" % (turn, turn)

            await client.connect()

            await client.fills(len(expected_screen))
            assert client.screen == expected_screen
            await shell.hears(len(expected_typed))
            assert shell.typed == expected_typed
        assert len(shells.opened) == 1

    @settings(
        max_examples=12,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(
        steps=st.lists(
            st.one_of(
                st.tuples(st.just("print"), st.integers(1, 150_000)),
                st.tuples(st.just("type"), st.integers(1, 3_000)),
                st.tuples(st.just("drop"), st.just(0)),
                st.tuples(st.just("read"), st.integers(1, 6)),
            ),
            max_size=14,
        )
    )
    async def test_is_whole_in_any_order_of_things(
        self, gate: Gateway, shells: StringShells, steps: list[tuple[str, int]]
    ) -> None:
        client, shell = await opened(gate, shells)
        numbers, printed, typed = count(), b"", b""
        for kind, size in steps:
            if kind == "print":
                data = b"".join(b"%d." % next(numbers) for _ in range(size // 5 + 1))
                printed += data
                shell.print(data)
            elif kind == "type":
                data = b"".join(b"%d," % next(numbers) for _ in range(size // 5 + 1))
                typed += data
                await client.type(data)
            elif kind == "drop":
                client.drop()
                await client.connect()
            else:
                for _ in range(size):
                    if len(client.screen) < len(printed):
                        await client.receive()

        client.drop()
        await client.connect()
        await client.fills(len(printed))

        assert client.screen == printed
        await shell.hears(len(typed))
        assert shell.typed == typed
        client.drop()
        shell.end()
        await level(lambda: all(each.ended for each in gate.terminals.shells()))

    async def test_takes_nothing_more_from_a_socket_that_was_replaced(self) -> None:
        shell = StringShell(80, 24)
        who = Holder(
            tenant_id=TenantId("t"),
            user_id=UserId("u"),
            session_id=None,
            allocation_id=AllocationId("a"),
        )
        one = held.HeldShell(name="trm_1", holder=who, shell=shell, clock=Hands())
        old, _ = one.attach(None, acknowledges=True)
        await one.take(old, b"in time ")

        new, _ = one.attach(0, acknowledges=True)
        await one.take(old, b"too late: its client sends it again ")
        await one.take(new, b"again")

        await shell.hears(len(b"in time again"))
        assert (shell.typed, one.typed) == (b"in time again", 13)
        assert old.over.result().code == "taken_over"
        await one.close()

    async def test_counts_what_is_no_longer_kept(self, gate: Gateway, shells: StringShells) -> None:
        client, shell = await opened(gate, shells)
        shell.print(b"seen")
        await client.shows(b"seen")
        client.drop()
        for number in range(48):
            shell.print(bytes([65 + number % 26]) * 64 * 1024)
        await level(lambda: shell.taken == 4 + 3 * MIB)

        live = await client.connect()

        assert live["lost"] == live["offset"] - 4
        assert 2 * MIB <= live["lost"] <= 2 * MIB + 2 * 64 * 1024
        await client.until(lambda: client.seen == 4 + 3 * MIB)

    async def test_to_a_blank_screen_shows_it_again(
        self, gate: Gateway, shells: StringShells
    ) -> None:
        client, shell = await opened(gate, shells)
        shell.print(b"one\r\ntwo\r\n$ ")
        await client.shows(b"$ ")
        client.drop()
        client.screen = b""

        live = await client.connect(blank=True)

        assert (live["resumed"], live["lines"], live["offset"]) == (True, 2, 0)
        assert live["lost"] == 0
        await client.shows(b"one\r\ntwo\r\n$ ")

    async def test_to_a_blank_screen_counts_what_was_before_it(
        self, gate: Gateway, shells: StringShells
    ) -> None:
        client, shell = await opened(gate, shells)
        client.drop()
        for _ in range(32):
            shell.print((b"x" * 1023 + b"\n") * 64)
        await level(lambda: shell.taken == 2 * MIB)

        live = await client.connect(blank=True)

        assert live["lost"] == live["offset"] >= MIB

    async def test_in_another_window_takes_the_terminal_along(
        self, gate: Gateway, shells: StringShells
    ) -> None:
        first, shell = await opened(gate, shells)
        second = gate.client(session=first.session)

        await second.connect(blank=True)

        assert (await first.ended())["code"] == "taken_over"
        shell.print(b"here now")
        await second.shows(b"here now")

    async def test_after_its_shell_ended_shows_the_end(
        self, gate: Gateway, shells: StringShells
    ) -> None:
        client, shell = await opened(gate, shells)
        client.drop()
        shell.print(b"last words")
        shell.end()
        await level(lambda: shell.taken == 10)

        await client.connect()

        ended = await client.ended()
        assert client.screen == b"last words"
        assert (ended["code"], ended["close"]) == ("shell_ended", 1000)
        assert shell.closed
        await level(lambda: gate.terminals.shells() == ())

    async def test_is_only_for_who_opened_it(self, gate: Gateway, shells: StringShells) -> None:
        client, _ = await opened(gate, shells)
        bob = await gate.cloud.sign_up("bob")
        stolen = gate.client(session=client.session)
        assert bob.user_id is not None
        (mine,) = gate.terminals.shells()
        mine.holder = replace(mine.holder, user_id=bob.user_id)

        over = await stolen.connect(blank=True)

        assert (over["state"], over["code"]) == ("ended", "terminal_gone")

    async def test_within_five_minutes_gets_what_was_missed(
        self, gate: Gateway, shells: StringShells, hands: Hands
    ) -> None:
        client, shell = await opened(gate, shells)
        shell.print(b"before ")
        await client.shows(b"before ")
        client.drop()
        await level(lambda: gate.terminals.shells()[0].life.detached is not None)
        shell.print(b"meanwhile")
        hands.seconds += 5 * 60 - 1
        await asyncio.sleep(4 * registry.TICK_SECONDS)

        live = await client.connect()

        assert (live["state"], live["lost"]) == ("live", 0)
        await client.fills(len(b"before meanwhile"))
        assert client.screen == b"before meanwhile"

    async def test_after_five_minutes_is_told_it_was_away_too_long(
        self, gate: Gateway, shells: StringShells, hands: Hands
    ) -> None:
        client, shell = await opened(gate, shells)
        client.drop()
        await level(lambda: gate.terminals.shells()[0].life.detached is not None)
        hands.seconds += 5 * 60
        await level(lambda: shell.closed)

        over = await client.connect()

        assert (over["state"], over["code"], over["before"]) == ("ended", "detached", True)
        assert over["reason"] == "You were away too long: a shell waits 5 minutes for you."
        assert client.socket is not None
        await client.socket.wait_closed()
        assert client.socket.close_code == 4408
        assert len(shells.opened) == 1


class TestPressure:
    async def test_a_slow_reader_slows_the_shell_and_costs_no_memory(
        self, gate: Gateway, shells: StringShells
    ) -> None:
        client = gate.client(acks=False)  # as a plain program does, with the kernel's buffers full
        await client.connect()
        shell = shells.opened[-1]
        for _ in range(512):
            shell.print(b"x" * 64 * 1024)  # 32 MiB that nobody reads

        await level(lambda: shell.taken > 0)
        before = -1
        while before != shell.taken:  # until it stands still
            before = shell.taken
            await asyncio.sleep(0.3)

        assert before < 16 * MIB, "what the kernel's own buffers hold, and little more"
        await client.until(lambda: client.seen == 32 * MIB)

    async def test_one_who_acknowledges_has_only_so_much_under_way(
        self, gate: Gateway, shells: StringShells
    ) -> None:
        client, shell = await opened(gate, shells)
        client.acks = False
        for _ in range(64):
            shell.print(b"x" * 64 * 1024)
        await client.until(lambda: client.seen >= held.UNSEEN_BYTES)
        await asyncio.sleep(0.1)

        assert client.seen <= held.UNSEEN_BYTES
        assert shell.taken <= held.UNSEEN_BYTES + held.AHEAD_BYTES + 2 * 64 * 1024
        await client.say(type="ack", offset=client.seen)
        client.acks = True
        await client.until(lambda: client.seen == 4 * MIB)

    async def test_a_shell_that_does_not_read_still_hears_everything_else(
        self, gate: Gateway, shells: StringShells
    ) -> None:
        client, shell = await opened(gate, shells)
        shell.reads.clear()
        await client.type(b"x" * 60_000)

        await client.say(type="ping", number=7)
        await client.until(lambda: {"type": "pong", "number": 7} in client.said)
        await client.say(type="resize", cols=200, rows=5000)
        await level(lambda: shell.sizes[-1] == (200, 1000))
        shell.reads.set()

        await level(lambda: len(shell.typed) == 60_000)

    async def test_two_hundred_stay_within_two_mebibytes_each(
        self, gate: Gateway, shells: StringShells, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gate.terminals, "limits", TerminalLimits(per_person=200))
        clients = [gate.client() for _ in range(200)]
        for client in clients:
            await client.connect()
        before = _resident()
        block = b"y" * 64 * 1024
        for shell in shells.opened:
            for _ in range(40):  # 2.5 MiB each, half of them to nobody
                shell.print(block)
        for client in clients[::2]:
            client.drop()
        await level(lambda: all(s.taken >= 40 * len(block) for s in shells.opened[::2]))

        assert (_resident() - before) / 200 < 2 * MIB
        assert len(gate.terminals.shells()) == 200

    async def test_a_storm_of_sizes_ends_at_the_last(
        self, gate: Gateway, shells: StringShells
    ) -> None:
        client, shell = await opened(gate, shells)
        for number in range(500):
            await client.say(type="resize", cols=40 + number % 100, rows=20)
        await client.say(type="resize", cols=123, rows=45)

        await level(lambda: shell.sizes[-1] == (123, 45))


class TestEnding:
    @pytest.mark.parametrize("reason", ["signed_out", "user_disabled", "access_removed"])
    async def test_follows_within_moments_when_access_is_taken_away(
        self, gate: Gateway, shells: StringShells, reason: str
    ) -> None:
        client, shell = await opened(gate, shells)
        await _take_away(gate, reason)

        ended = await client.ended()

        assert (ended["state"], ended["code"], ended["close"]) == ("ended", reason, 4401)
        await level(lambda: shell.closed)

    async def test_follows_a_release_and_says_so(self, gate: Gateway, shells: StringShells) -> None:
        client, shell = await opened(gate, shells)
        await gate.cloud.release(gate.ada, gate.allocation_id)

        ended = await client.ended()

        assert (ended["code"], ended["close"]) == ("not_active", 4409)
        await level(lambda: shell.closed)

    async def test_reaches_one_who_reads_nothing(self, gate: Gateway, shells: StringShells) -> None:
        client, shell = await opened(gate, shells)
        for _ in range(256):
            shell.print(b"x" * 64 * 1024)
        await asyncio.sleep(0.2)

        await gate.cloud.release(gate.ada, gate.allocation_id)

        await level(lambda: shell.closed)
        with pytest.raises(ConnectionClosed):
            await client.until(lambda: client.seen == 16 * MIB)

    async def test_says_when_the_node_is_lost(self, gate: Gateway, shells: StringShells) -> None:
        client, shell = await opened(gate, shells)
        other, other_shell = await opened(gate, shells)
        shell.print(b"before")
        shell.lose()

        ended = await client.ended()

        assert (ended["code"], ended["close"]) == ("node_lost", 4503)
        assert client.screen == b"before"
        other_shell.print(b"unmoved")
        await other.shows(b"unmoved")

    async def test_is_announced(
        self, gate: Gateway, shells: StringShells, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        limits = TerminalLimits(idle=timedelta(seconds=0.6), warning=timedelta(seconds=0.4))
        monkeypatch.setattr(gate.terminals, "limits", limits)
        client, _ = await opened(gate, shells)

        ended = await client.ended()

        assert any("Press any key" in said.get("words", "") for said in client.said)
        assert (ended["code"], ended["close"]) == ("idle", 4408)

    async def test_does_not_follow_a_database_that_is_away_for_a_moment(
        self, gate: Gateway, shells: StringShells, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failures = []

        async def away(*_: object) -> None:
            failures.append(1)
            raise ConnectionError("no database")

        client, shell = await opened(gate, shells)
        monkeypatch.setattr("gpucloud_core.allocations.terminal._standings", away)
        await level(lambda: len(failures) > 3)

        shell.print(b"still here")
        await client.shows(b"still here")


class TestTheAudit:
    """Seen to fail when the closing row was written at the socket alone: not of one left behind."""

    @pytest.mark.parametrize("reason", ["shell_ended", "signed_out", "detached"])
    async def test_says_who_opened_a_terminal_and_how_it_ended(
        self,
        gate: Gateway,
        shells: StringShells,
        monkeypatch: pytest.MonkeyPatch,
        reason: str,
    ) -> None:
        client, shell = await opened(gate, shells)
        client.drop()
        await client.connect()  # coming back opens nothing
        (first,) = _audited(gate)
        if reason == "shell_ended":
            shell.end()
        elif reason == "detached":
            limits = TerminalLimits(detached=timedelta(seconds=0.2))
            monkeypatch.setattr(gate.terminals, "limits", limits)
            client.drop()
        else:
            await _take_away(gate, reason)

        await level(lambda: len(_audited(gate)) == 2)

        last = _audited(gate)[-1]
        assert (first.action, last.action) == ("terminal.open", "terminal.close")
        assert first.changes == {"terminal": [None, client.session]}
        assert last.changes == {"terminal": [client.session, None], "reason": [None, reason]}
        for row in (first, last):
            assert (row.target, row.user_id) == (gate.allocation_id, gate.ada.user_id)
            assert (row.actor, row.via, row.ip) == ("ada", "ui", "127.0.0.1")
            assert row.correlation_id == first.correlation_id != ""

    async def test_tells_the_end_of_what_was_silent_too_long_and_it_ends_for_good(
        self, gate: Gateway, shells: StringShells, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client, shell = await opened(gate, shells)
        gate.cloud.clock.advance_to(gate.cloud.clock.now() + LEASE)
        sweep = CloseLostTerminals(transactions=gate.cloud.transactions)
        assert [await sweep(), await sweep()] == [1, 0]

        monkeypatch.setattr(registry, "HOLD_EVERY", 2)  # as after a long pause of the process

        assert (await client.ended())["code"] == "unchecked"
        await level(lambda: shell.closed and not gate.terminals.shells())
        (_, last) = _audited(gate)
        assert last.changes["reason"] == [None, "process_lost"]

    async def test_is_held_as_long_as_its_process_says_so(
        self, gate: Gateway, shells: StringShells, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(registry, "HOLD_EVERY", 2)
        client, shell = await opened(gate, shells)
        sweep = CloseLostTerminals(transactions=gate.cloud.transactions)
        table = gate.cloud.transactions.database.table(TERMINAL_LEASES)
        for _ in range(3):
            gate.cloud.clock.advance_to(gate.cloud.clock.now() + LEASE / 2)
            await level(partial(_is_good_until, table, gate.cloud.clock.now() + LEASE))
            assert await sweep() == 0

        shell.print(b"still here")
        await client.shows(b"still here")

    async def test_must_be_written_before_anything_is_shown(
        self, gate: Gateway, shells: StringShells, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def away(*_: object, **__: object) -> None:
            raise Unavailable("The database does not answer.")

        monkeypatch.setattr(RecordTerminal, "opened", away)

        over = await gate.client().connect()

        assert (over["state"], over["code"]) == ("ended", "unavailable")
        assert shells.opened[-1].closed
        assert gate.terminals.shells() == ()


def _is_good_until(leases: Table[TerminalLease], until: datetime) -> bool:
    return [lease.until for lease in leases.rows.values()] == [until]


def _audited(gate: Gateway) -> list[AuditRow]:
    rows = gate.cloud.transactions.database.audit_rows
    return [row for row in rows if row.action.startswith("terminal.")]


class TestWhoMayConnect:
    @pytest.mark.parametrize(
        "origin",
        [
            "https://evil.example",
            "null",
            "http://127.0.0.1:{port}.evil.example",
            "http://evil.example/http://127.0.0.1:{port}",
            "http://127.0.0.1",
            "https://127.0.0.1:{port}",
        ],
    )
    async def test_nobody_from_another_origin(
        self, gate: Gateway, shells: StringShells, origin: str
    ) -> None:
        origin = origin.format(port=gate.port)
        token = await gate.token(gate.allocation_id, gate.origin)

        socket = await gate.connect(gate.allocation_id, token, origin=origin)

        assert json.loads(await socket.recv())["code"] == "foreign_origin"
        assert shells.opened == []

    async def test_nobody_with_a_token_for_something_else(
        self, gate: Gateway, shells: StringShells
    ) -> None:
        bound = await gate.token(gate.allocation_id, gate.origin)
        spent = await gate.token(gate.allocation_id)
        await (await gate.connect(gate.allocation_id, spent)).recv()
        shells.opened.clear()
        stale = await gate.token(gate.allocation_id)
        gate.cloud.clock.advance_to(gate.cloud.clock.now() + timedelta(seconds=30))

        for token in (bound, spent, stale, "a-guess", ""):
            socket = await gate.connect(gate.allocation_id, token or "none")
            over = json.loads(await socket.recv())
            await socket.wait_closed()
            assert (over["code"], socket.close_code) == ("terminal_token_invalid", 4401)
        assert shells.opened == []

    async def test_nobody_whose_access_went_after_the_token_came(
        self, gate: Gateway, shells: StringShells
    ) -> None:
        token = await gate.token(gate.allocation_id)
        await _take_away(gate, "signed_out")

        socket = await gate.connect(gate.allocation_id, token)

        assert json.loads(await socket.recv())["code"] == "terminal_token_invalid"
        assert shells.opened == []

    async def test_no_more_often_than_one_may(self, gate: Gateway, shells: StringShells) -> None:
        clients = [gate.client() for _ in range(gate.terminals.limits.per_person)]
        for client in clients:
            await client.connect()

        over = await gate.client().connect()
        assert over["code"] == "too_many_terminals"
        assert len(shells.opened) == len(clients)
        shells.opened[0].end()
        await clients[0].ended()

        assert (await gate.client().connect())["state"] == "live"

    @pytest.mark.parametrize("frame", [b"x" * 70_000, "x" * 70_000])
    async def test_no_giant_frames(
        self, gate: Gateway, shells: StringShells, frame: bytes | str
    ) -> None:
        client, _ = await opened(gate, shells)
        assert client.socket is not None
        await client.socket.send(frame)

        assert (await client.ended())["close"] == 1009

    async def test_nonsense_is_passed_over(self, gate: Gateway, shells: StringShells) -> None:
        client, shell = await opened(gate, shells)
        assert client.socket is not None
        for text in ("", "{", "[]", '{"type":"ack","offset":-1}', '{"type":"ack","offset":1e9}'):
            await client.socket.send(text)
        await client.socket.send(b"\xff\xfe\x00")

        await level(lambda: shell.typed == b"\xff\xfe\x00")


async def _take_away(gate: Gateway, reason: str) -> None:
    ada, cloud = gate.ada, gate.cloud
    async with cloud.transactions.begin(Scope.platform()) as unit:
        if reason == "user_disabled":
            user = await unit.users.get(str(ada.user_id))
            assert user is not None
            await unit.users.put(replace(user, disabled_at=await unit.now()))
        elif reason == "access_removed":
            await unit.tenant_members.delete(f"{ada.tenant_id}/{ada.user_id}")
    if reason == "signed_out":
        assert ada.session_id is not None
        revoke = RevokeSession(transactions=cloud.transactions)
        await revoke(actor=ada, session_id=ada.session_id)


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
