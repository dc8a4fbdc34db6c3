from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gpucloud_adapters.simulated.host.sampler import (
    GpuLimits,
    Use,
    idle_sample,
    sample,
)
from simulated_builders import NOON

LIMITS = GpuLimits(memory_mib=143_771, power_watts=700, clock_mhz=1980)
seeds = st.text(max_size=8)
uuids = st.sampled_from(["GPU-a", "GPU-b", "GPU-c"])
instants = st.integers(0, 90 * 24 * 3600).map(lambda seconds: NOON + timedelta(seconds=seconds))


class TestSample:
    @given(seed=seeds, uuid=uuids, at=instants)
    def test_stays_within_what_the_board_can_do(self, seed: str, uuid: str, at: datetime) -> None:
        now = sample(Use(seed=seed), uuid, at, LIMITS)

        assert 0 <= now.utilization_percent <= 100
        assert 0 <= now.memory_used_mib <= LIMITS.memory_mib - 700
        assert 20 <= now.temperature_c <= 80
        assert 60_000 <= now.power_milliwatts <= LIMITS.power_watts * 1000
        assert 345 <= now.sm_clock_mhz <= LIMITS.clock_mhz

    @given(seed=seeds, uuid=uuids, at=instants)
    def test_moves_smoothly(self, seed: str, uuid: str, at: datetime) -> None:
        use = Use(seed=seed)
        one = sample(use, uuid, at, LIMITS)
        next_second = sample(use, uuid, one.at + timedelta(seconds=1), LIMITS)

        assert abs(next_second.temperature_c - one.temperature_c) <= 2
        assert abs(next_second.utilization_percent - one.utilization_percent) <= 8
        assert abs(next_second.power_milliwatts - one.power_milliwatts) <= 50_000

    @given(seed=seeds, uuid=uuids, at=instants)
    def test_is_the_same_whenever_it_is_asked(self, seed: str, uuid: str, at: datetime) -> None:
        use = Use(seed=seed)

        assert sample(use, uuid, at, LIMITS) == sample(use, uuid, at, LIMITS)

    def test_is_quiet_in_a_slice_just_made_and_busy_later(self) -> None:
        use = Use(seed="a slice", since=NOON)
        minutes = [sample(use, "GPU-a", NOON + timedelta(minutes=m), LIMITS) for m in range(120)]

        assert [each.utilization_percent for each in minutes[:3]] == [0, 0, 0]
        assert max(each.utilization_percent for each in minutes) > 60

    def test_gives_the_gpus_of_one_slice_the_same_jobs(self) -> None:
        use = Use(seed="a slice")
        hours = [NOON + timedelta(minutes=5 * step) for step in range(60)]

        for at in hours:
            one, other = (sample(use, uuid, at, LIMITS) for uuid in ("GPU-a", "GPU-b"))
            assert abs(one.utilization_percent - other.utilization_percent) <= 6

    def test_of_an_unused_gpu_is_idle(self) -> None:
        now = idle_sample("GPU-a", NOON, LIMITS)

        assert (now.utilization_percent, now.memory_used_mib) == (0, 0)
        assert now.power_milliwatts < 90_000
