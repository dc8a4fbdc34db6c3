"""What benchmarks stand on: real servers that keep what they acknowledge, and one form of report.

Absolute figures drift with the machine, so each benchmark runs its baseline beside it and is
judged by the ratio. Whatever commits is shown beside what one fdatasync costs at that moment.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from embedded_servers import free_port, running
from gpucloud_adapters.embedded.postgres import EmbeddedPostgres
from gpucloud_adapters.embedded.valkey import EmbeddedValkey
from gpucloud_adapters.postgres.migrate import upgrade

_SYNCS: Final = 50
_BLOCK: Final = b"\0" * 8192


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the servers of a benchmark are, and a folder that goes with them."""

    database_url: str
    superuser_url: str
    redis_url: str
    folder: Path


@contextmanager
def servers() -> Iterator[Servers]:
    """Run a PostgreSQL with the newest schema and a Valkey, both as durable as in production."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        postgres = EmbeddedPostgres(home=folder / "postgres", port=free_port())
        valkey = EmbeddedValkey(home=folder / "valkey", port=free_port(), durable=True)
        with (
            running(postgres.command(), folder / "postgres.log"),
            running(valkey.command(), folder / "valkey.log"),
        ):
            asyncio.run(postgres.create())
            upgrade(postgres.url)
            address = postgres.url_of("gpucloud", "postgres")
            yield Servers(postgres.url, address, valkey.url, folder)


def fdatasync_ms(folder: Path) -> float:
    """Return what writing 8 kB and syncing it costs here and now: the median, in milliseconds."""
    file = folder / "fdatasync"
    times = []
    with file.open("wb") as out:
        for _ in range(_SYNCS):
            begun = perf_counter()
            out.write(_BLOCK)
            out.flush()
            os.fdatasync(out.fileno())
            times.append((perf_counter() - begun) * 1000)
    return round(median(times), 3)


def quantile(values: Sequence[float], part: float) -> float:
    """Return the value below which ``part`` of ``values`` lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


@dataclass(kw_only=True)
class Report:
    """What one benchmark found, in the form all of them print."""

    benchmark: str
    results: list[dict[str, Any]] = field(default_factory=list)
    ratios: dict[str, float] = field(default_factory=dict)
    bars: dict[str, dict[str, Any]] = field(default_factory=dict)

    def at_least(self, name: str, value: float, bar: float) -> None:
        self.bars[name] = {"value": round(value, 3), "bar": bar, "met": value >= bar}

    def at_most(self, name: str, value: float, bar: float) -> None:
        self.bars[name] = {"value": round(value, 3), "bar": bar, "met": value <= bar}

    def show(self, *, as_json: bool) -> None:
        if as_json:
            whole = {
                "benchmark": self.benchmark,
                "environment": environment(),
                "results": self.results,
                "ratios": self.ratios,
                "bars": self.bars,
            }
            print(json.dumps(whole, indent=1))
            return
        for result in self.results:
            print("  ".join(f"{name} {value}" for name, value in result.items()))
        for name, ratio in self.ratios.items():
            print(f"{name}: {ratio}")
        for name, bar in self.bars.items():
            said = "met" if bar["met"] else "missed"
            print(f"{name}: {bar['value']} (bar {bar['bar']}, {said})")


def environment() -> Mapping[str, Any]:
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }


def main(about: str | None, measure: Callable[[], Report]) -> int:
    """Be the command of a benchmark: measure, and print a table or, with ``--json``, an object."""
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    measure().show(as_json=options.json)
    return 0
