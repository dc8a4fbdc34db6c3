"""What a GPU would be doing at an instant: a pure function of its user, the GPU and the time.

Load comes and goes in jobs of some minutes, the same for every GPU of one slice, with each GPU's
own jitter on top; a slice just made is quiet at first. Temperature follows the load of the last
minute, as metal does. Nothing is stored: the past can be asked as well as the present, so the
terminal and the metrics page always agree.
"""

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gpucloud_core.kernel.time import EPOCH

_JOB_SECONDS: Final = 2_400.0
_QUIET_SECONDS: Final = 180.0
_BEGIN_SECONDS: Final = 60.0
_LEVEL_SECONDS: Final = 90.0
_JITTER_SECONDS: Final = 11.0
_HEAT_LAGS: Final = (0.0, 12.0, 24.0, 36.0, 48.0, 60.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSample:
    """One reading of one GPU, in the units that nvidia-smi prints."""

    at: datetime
    utilization_percent: int
    memory_utilization_percent: int
    memory_used_mib: int
    temperature_c: int
    memory_temperature_c: int
    power_milliwatts: int
    sm_clock_mhz: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuLimits:
    """What a model of GPU can reach."""

    memory_mib: int
    power_watts: int
    clock_mhz: int
    idle_watts: int = 76


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """Who uses the GPUs: a seed (one per slice), and since when."""

    seed: str
    since: datetime = EPOCH


def sample(use: Use, uuid: str, at: datetime, limits: GpuLimits) -> GpuSample:
    """Return what the GPU reads at ``at`` while ``use`` has it."""
    seconds = _seconds(at)
    heat = sum(_load(use, uuid, seconds - lag) for lag in _HEAT_LAGS) / len(_HEAT_LAGS)
    load, job = _load(use, uuid, seconds), _job(use, seconds)
    return _reading(uuid, at, limits, load=load, heat=heat, filled=job)


def idle_sample(uuid: str, at: datetime, limits: GpuLimits) -> GpuSample:
    """Return what a GPU reads that nobody uses."""
    return _reading(uuid, at, limits, load=0.0, heat=0.0, filled=0.0)


def _reading(
    uuid: str, at: datetime, limits: GpuLimits, *, load: float, heat: float, filled: float
) -> GpuSample:
    seconds = _seconds(at)
    place = _unit(f"place/{uuid}", 0)  # where in the chassis it sits: some run warmer
    breath = _noise(f"breath/{uuid}", seconds, 30.0)
    degrees = 27.0 + 5.0 * place + (33.0 + 4.0 * place) * heat + breath
    idle = limits.idle_watts
    watts = idle + 4.0 * breath + (limits.power_watts - idle) * 0.93 * load
    return GpuSample(
        at=at,
        utilization_percent=round(100 * load),
        memory_utilization_percent=round(62 * load),
        memory_used_mib=round(limits.memory_mib * (0.72 + 0.12 * place) * filled),
        temperature_c=round(degrees),
        memory_temperature_c=round(degrees * 1.12 - 2),
        power_milliwatts=round(1000 * watts),
        sm_clock_mhz=345 if load < 0.01 else round(limits.clock_mhz * (1 - 0.08 * load) / 15) * 15,  # noqa: PLR2004  below a hundredth it is idle
    )


def _load(use: Use, uuid: str, seconds: float) -> float:
    level = 0.86 + 0.12 * _noise(f"level/{use.seed}", seconds, _LEVEL_SECONDS)
    jitter = 0.05 * _noise(f"jitter/{use.seed}/{uuid}", seconds, _JITTER_SECONDS)
    return max(0.0, min(1.0, _job(use, seconds) * (level - jitter)))


def _job(use: Use, seconds: float) -> float:
    """Return how far a job is under way: 0 between jobs, 1 in one, about a minute in between."""
    begun = _smooth((seconds - _seconds(use.since) - _QUIET_SECONDS) / _BEGIN_SECONDS)
    return begun * _smooth((_noise(f"job/{use.seed}", seconds, _JOB_SECONDS) - 0.22) / 0.08)


def _seconds(at: datetime) -> float:
    return (at - EPOCH).total_seconds()


def _noise(key: str, seconds: float, period: float) -> float:
    """Return smooth noise from 0 to 1 whose bends are ``period`` apart."""
    step = math.floor(seconds / period)
    part = _smooth(seconds / period - step)
    return _unit(key, step) * (1 - part) + _unit(key, step + 1) * part


def _smooth(value: float) -> float:
    clipped = max(0.0, min(1.0, value))
    return clipped * clipped * (3 - 2 * clipped)


def _unit(key: str, step: int) -> float:
    digest = hashlib.blake2b(f"{key}/{step}".encode(), digest_size=7).digest()
    return int.from_bytes(digest) / (1 << 56)
