"""When a terminal ends by itself, and what is said before."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_core.allocations.terminal_life import Life, TerminalLimits, overdue, warning

LIMITS = TerminalLimits()
MINUTE, HOUR = 60.0, 3600.0


def life(opened: float = 0, active: float = 0, detached: float | None = None) -> Life:
    return Life(opened=opened, active=active, detached=detached)


class TestATerminal:
    @pytest.mark.parametrize(
        ("lived", "now", "code"),
        [
            (life(), HOUR - 1, None),
            (life(), HOUR, "idle"),
            (life(active=12 * HOUR - 1), 12 * HOUR - 1, None),
            (life(active=12 * HOUR - 1), 12 * HOUR, "total"),
            (life(active=10, detached=10), 10 + 5 * MINUTE - 1, None),
            (life(active=10, detached=10), 10 + 5 * MINUTE, "detached"),
        ],
    )
    def test_ends_at_its_instant(self, lived: Life, now: float, code: str | None) -> None:
        ended = overdue(lived, LIMITS, now)

        assert (ended.code if ended else None) == code

    @given(active=st.floats(0, 13 * HOUR), quiet=st.floats(0, 2 * HOUR), detached=st.booleans())
    def test_is_announced_before_it_ends_unless_nobody_looks(
        self, active: float, quiet: float, detached: bool
    ) -> None:
        now = active + quiet
        lived = life(active=active, detached=active if detached else None)
        ended = overdue(lived, LIMITS, now)

        if ended is not None and ended.code != "detached":
            assert warning(lived, LIMITS, now - 1) is not None

    def test_says_what_to_do_and_how_long_is_left(self) -> None:
        warned = warning(life(), LIMITS, HOUR - 90)

        assert warned is not None
        assert warned.seconds == 90
        assert "Press any key" in warned.words

    def test_names_its_limits_in_words(self) -> None:
        short = TerminalLimits(idle=timedelta(minutes=1), total=timedelta(minutes=90))

        idle, total = overdue(life(), short, MINUTE), overdue(life(active=5400), short, 5400)

        assert idle is not None
        assert total is not None
        assert idle.words == "Nothing was typed or printed for 1 minute."
        assert total.words == "A terminal lasts at most 90 minutes."
