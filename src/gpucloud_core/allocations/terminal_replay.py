"""The last bytes that a terminal printed, by their place in all that it ever printed.

Whoever comes back says how many bytes they have seen and gets the rest: nothing twice, and what is
no longer kept is counted, never passed over in silence.
"""

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Final

BLOCK_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Resumption:
    """Where showing goes on, and how many bytes before that nobody will see."""

    offset: int
    lost: int


class Replay:
    """At most ``limit`` bytes, in blocks; the oldest block makes room.

    Every block but the newest is full, so that a place is found by division, and what is kept is
    never moved.

    Attributes:
        start: place of the oldest byte that is kept.
        end: how many bytes there ever were; also the place of the next one.
    """

    __slots__ = ("_block", "_blocks", "_blocks_max", "end", "start")

    def __init__(self, limit: int, block: int = BLOCK_BYTES) -> None:
        self._block = block
        self._blocks_max = max(limit // block, 1)
        self._blocks = deque([bytearray()])
        self.start = 0
        self.end = 0

    def append(self, data: bytes) -> None:
        self.end += len(data)
        taken = 0
        while taken < len(data):
            newest = self._blocks[-1]
            if len(newest) == self._block:
                self._blocks.append(newest := bytearray())
            part = data[taken : taken + self._block - len(newest)]
            newest += part
            taken += len(part)
        while len(self._blocks) > self._blocks_max:
            self.start += len(self._blocks.popleft())

    def read(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``offset`` on, at most to the end of their block.

        Raises:
            ValueError: that place is no longer kept, or there is none such.
        """
        if not self.start <= offset <= self.end:
            raise ValueError(f"{offset} is not between {self.start} and {self.end}")
        number, begin = divmod(offset - self.start, self._block)
        if number == len(self._blocks):
            return b""
        with memoryview(self._blocks[number]) as block:
            return bytes(block[begin : begin + size])

    def resume(self, seen: int | None) -> Resumption:
        """Return where to go on for one who has seen ``seen`` bytes; None has a blank screen.

        A blank screen begins with a whole line, if the beginning of the first one is gone, and
        whatever was before that is lost to it. Who claims to have seen more than there was is shown
        all that is kept.
        """
        if seen is None or seen > self.end:
            begin = self._first_line()
            return Resumption(begin, begin)
        return Resumption(max(seen, self.start), max(self.start - seen, 0))

    def lines(self, offset: int) -> int:
        """Return how many lines end from ``offset`` on."""
        number, begin = divmod(offset - self.start, self._block)
        counts = [block.count(b"\n") for block in islice(self._blocks, number, None)]
        if not counts:
            return 0
        return sum(counts) - self._blocks[number].count(b"\n", 0, begin)

    def _first_line(self) -> int:
        found = -1 if self.start == 0 else self._blocks[0].find(b"\n")
        return self.start + found + 1
