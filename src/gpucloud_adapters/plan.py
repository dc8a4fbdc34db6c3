"""``gpucloud plan``: what a fleet could take of a demand, with advice; nothing is changed.

The fleet is one imagined (a standard system, so many nodes), or a pool of the platform's own as
its database has it. The demand is a mix of sizes drawn from a seed, or a trace: a CSV file with
the columns ``at_seconds``, ``gpus`` and, if launches end, ``stays_seconds``.
"""

import argparse
import asyncio
import importlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

from gpucloud_adapters.plan_report import page, text
from gpucloud_adapters.settings import database_url
from gpucloud_core.catalog.model import Beside
from gpucloud_core.kernel.errors import DomainError, ValidationFailed
from gpucloud_core.nodes.model import NodeMode
from gpucloud_core.nodes.systems import SYSTEMS
from gpucloud_core.placement.plan import (
    Ground,
    PlanAsked,
    arrivals_of,
    faults,
    imagined,
    parse_mix,
    parse_trace,
    requests_of,
)
from gpucloud_core.placement.what_if import Outlook, play

SUMMARY: Final = "Show what a fleet could take of a demand, and which drains would pay."
_OK: Final = 0
_MISUSED: Final = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--system", choices=sorted(SYSTEMS), default="hgx-h200")
    parser.add_argument("--nodes", type=int, default=16, metavar="N")
    parser.add_argument("--mode", choices=["container", "vm"], default="container")
    parser.add_argument("--pool", metavar="POOL", help="a pool of DATABASE_URL instead of --nodes")
    parser.add_argument("--vcpus-per-gpu", type=int, default=22, metavar="N")
    parser.add_argument("--memory-gib-per-gpu", type=int, default=224, metavar="N")
    parser.add_argument("--beside", choices=[each.value for each in Beside], default="nothing")
    parser.add_argument("--mix", default="1:60,2:15,4:15,8:10", metavar="SIZE:WEIGHT,...")
    parser.add_argument("--launches", type=int, metavar="N", help="default: 1.3 times the GPUs")
    parser.add_argument("--every", type=int, default=60, metavar="SECONDS")
    parser.add_argument("--stay-hours", type=float, metavar="HOURS", help="mean; default: for good")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trace", type=Path, metavar="FILE.csv", help="instead of the mix's draws")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--report", type=Path, metavar="FILE.html", help="also draw it")


def run(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    try:
        question = _asked(asked)
        ground = _ground(asked, question, environment)
        arrivals = arrivals_of(question, ground.gpus)
        outlook = play(
            ground.image,
            requests_of(question, arrivals, ground.pool),
            arrivals,
            held=ground.held,
        )
    except (DomainError, OSError) as error:
        print(f"gpucloud plan: {_words(error)}", file=sys.stderr)
        return _MISUSED
    if asked.report is not None:
        asked.report.write_text(page(outlook))
    print(json.dumps(as_json(outlook), indent=1) if asked.json else text(outlook))
    return _OK


def as_json(outlook: Outlook) -> dict[str, object]:
    return asdict(outlook)


def _words(error: DomainError | OSError) -> str:
    if isinstance(error, ValidationFailed) and error.fields:
        return " ".join(f"{fault.field.strip('/')}: {fault.detail}" for fault in error.fields)
    return error.detail if isinstance(error, DomainError) else str(error)


def _asked(given: argparse.Namespace) -> PlanAsked:
    question = PlanAsked(
        pool=given.pool or "",
        system=given.system,
        nodes=given.nodes,
        mode=NodeMode(given.mode),
        vcpus_per_gpu=given.vcpus_per_gpu,
        memory_gib_per_gpu=given.memory_gib_per_gpu,
        beside=Beside(given.beside),
        mix=parse_mix(given.mix),
        launches=given.launches,
        every_seconds=given.every,
        stay_hours=given.stay_hours,
        seed=given.seed,
        trace=parse_trace(given.trace.read_text()) if given.trace is not None else (),
    )
    if wrong := list(faults(question)):
        raise ValidationFailed("The question needs another look.", fields=wrong)
    return question


def _ground(
    given: argparse.Namespace, question: PlanAsked, environment: Mapping[str, str]
) -> Ground:
    if given.pool is None:
        return imagined(question)
    reader = importlib.import_module("gpucloud_adapters.plan_live")
    ground: Ground = asyncio.run(reader.read(database_url(environment).reveal(), given.pool))
    return ground
