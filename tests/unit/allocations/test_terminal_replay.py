"""What a terminal replays: nothing twice, nothing lost while it is kept, and the rest counted.

The machine below was seen to fail when dropping a block moved ``start`` by the limit instead of by
the block's length, and when ``resume`` went on one byte after what had been seen.
"""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gpucloud_core.allocations.terminal_replay import Replay, Resumption

LIMIT, BLOCK = 24, 8  # small on purpose: blocks fill, and the oldest goes, all the time
prints = st.binary(max_size=40)
sizes = st.integers(1, 40)


class Reader(RuleBasedStateMachine):
    """One terminal, and one person who drops out and comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.replay = Replay(LIMIT, BLOCK)
        self.printed = b""  # the whole model: all that was ever printed
        self.at = 0
        self.drawn = 0  # what the person has on the screen, by its place

    @rule(data=prints)
    def print(self, data: bytes) -> None:
        self.replay.append(data)
        self.printed += data

    @rule(size=sizes)
    def read(self, size: int) -> None:
        if self.at < self.replay.start:
            self.come_back()
        data = self.replay.read(self.at, size)

        assert data == self.printed[self.at : self.at + len(data)]
        assert data or self.at == len(self.printed), "there was something to read"
        self.at = self.drawn = self.at + len(data)

    @rule()
    def come_back(self) -> None:
        found = self.replay.resume(self.drawn)

        assert found.offset == self.drawn + found.lost, "what is not shown is counted"
        assert found.lost == max(0, self.replay.start - self.drawn)
        self.at = self.drawn = found.offset

    @rule()
    def open_anew(self) -> None:
        found = self.replay.resume(None)

        assert found.lost == found.offset, "all that was before is gone for it"
        assert self.replay.start <= found.offset <= self.replay.end
        assert self.replay.lines(found.offset) == self.printed[found.offset :].count(b"\n")
        self.at = self.drawn = found.offset

    @invariant()
    def keeps_the_newest_and_no_more_than_it_may(self) -> None:
        kept = self.replay.end - self.replay.start
        assert self.replay.end == len(self.printed)
        assert kept <= LIMIT
        assert kept >= min(len(self.printed), LIMIT - BLOCK), "no more was dropped than had to be"


TestReader = Reader.TestCase


class TestReplay:
    @given(parts=st.lists(prints))
    def test_gives_back_what_was_printed_however_it_came(self, parts: list[bytes]) -> None:
        replay = Replay(1 << 20, BLOCK)
        for part in parts:
            replay.append(part)

        read = b""
        while data := replay.read(len(read), 1000):
            read += data

        assert read == b"".join(parts)

    def test_begins_a_blank_screen_with_a_whole_line(self) -> None:
        replay = Replay(LIMIT, BLOCK)
        replay.append(b"0123456789ab\ncdefghijklmnop\nxy")

        found = replay.resume(None)

        assert replay.start == 8
        assert found == Resumption(13, 13)
        assert replay.lines(found.offset) == 1

    def test_shows_all_it_keeps_to_one_who_has_seen_more_than_there_was(self) -> None:
        replay = Replay(LIMIT, BLOCK)
        replay.append(b"hello")

        assert replay.resume(99) == Resumption(0, 0)
