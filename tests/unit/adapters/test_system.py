"""Ids increase and stay unique whatever the clock does."""

from datetime import UTC

from hypothesis import given
from hypothesis import strategies as st

from gpucloud_adapters.system import SystemClock, SystemIds, SystemSecrets
from gpucloud_core.kernel.ids import parse_id


class TestSystemIds:
    @given(st.lists(st.integers(0, 5), min_size=1, max_size=60))
    def test_increase_also_when_the_clock_stands_or_steps_back(self, clock: list[int]) -> None:
        """Seen to fail when the next id of a millisecond took fresh noise."""
        instants = iter(clock)
        ids = SystemIds(lambda: next(instants))
        made = [ids.new("tsk") for _ in clock]

        assert made == sorted(set(made))
        assert all(parse_id("tsk", each) == each for each in made)

    def test_borrow_the_next_millisecond_when_one_is_used_up(self) -> None:
        ids = SystemIds(lambda: 7)
        ids._last = (7, (1 << 74) - 1)
        first = ids.new("tsk")

        assert ids._last[0] == 8
        assert first < ids.new("tsk")


class TestSystemClock:
    def test_is_aware_and_utc(self) -> None:
        assert SystemClock().now().tzinfo is UTC


class TestSystemSecrets:
    def test_have_256_bits(self) -> None:
        tokens = {SystemSecrets().token() for _ in range(50)}

        assert len(tokens) == 50
        assert {len(token) for token in tokens} == {43}
