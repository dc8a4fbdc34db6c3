"""Worlds from their seeds: every promise holds, and the same seed is the same world.

Seen to fail, in at most a few worlds each, when these were planted in the real core (the ones
marked * are planted by ``test_planted_bugs.py`` in each run):

- * an undo looked only at steps that were completed;
- * a hold stayed open when a launch had failed;
- * a release gave its capacity back before it was proven clean;
- * a worker that had lost its lease wrote its late result down;
- * a payment was credited once for each event about it;
- * the meter ran on while the wipe was done;
- * the node made what had been released before it was made;
- a batch's tasks were queued without being due;
- * nobody wrote down who did what;
- the end of a balance was told as often as it was announced;
- a webhook's next try was never put off: nothing came of an event whose message was lost.

And bugs that nobody planted, each with its world in ``tests/data/simulation/seeds.txt``.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from gpucloud_adapters import cli
from gpucloud_adapters.memory.simulation import command
from gpucloud_adapters.memory.simulation.coverage import MOVES, UNTAKEN, untaken
from gpucloud_adapters.memory.simulation.world import Plan, simulate

KEPT: Final = Path(__file__).parent.parent.parent / "data" / "simulation" / "seeds.txt"
SMALL: Final = Plan(seed=1, days=1, tenants=3, nodes=1, pause_hours=1)


def kept_plans() -> list[Plan]:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    lines = (shlex.split(line, comments=True) for line in KEPT.read_text().splitlines())
    return [command.plan_of(parser.parse_args(options)) for options in lines if options]


class TestWorld:
    @pytest.mark.parametrize("seed", range(1, 21))
    def test_keeps_every_promise(self, seed: int) -> None:
        report = simulate(replace(SMALL, seed=seed))

        assert report.breaches == (), command.replay(report.plan)

    @pytest.mark.parametrize("plan", kept_plans(), ids=command.replay)
    def test_that_once_broke_one_keeps_it(self, plan: Plan) -> None:
        assert simulate(plan).breaches == ()

    def test_is_the_same_to_the_last_event_in_another_process(self) -> None:
        plan = replace(SMALL, seed=7)
        other = (
            "from gpucloud_adapters.memory.simulation.world import Plan, simulate;"
            f"print(simulate({plan!r}).fingerprint)"
        )

        told = subprocess.run(
            (sys.executable, "-c", other),
            env={**os.environ, "PYTHONHASHSEED": "4711"},
            capture_output=True,
            text=True,
            check=True,
        )

        assert told.stdout.strip() == simulate(plan).fingerprint

    def test_of_another_seed_is_another(self) -> None:
        prints = {simulate(replace(SMALL, seed=seed)).fingerprint for seed in (1, 2)}

        assert len(prints) == 2


class TestCoverage:
    def test_explains_only_what_is_a_move(self) -> None:
        nothing: dict[str, dict[str, int]] = {}

        explained = {(each.machine, each.move) for each in untaken(nothing) if each.why}

        assert explained == {(name, move) for name, moves in UNTAKEN.items() for move in moves}


class TestCommand:
    def test_says_what_happened_and_that_all_held(self, capsys: pytest.CaptureFixture[str]) -> None:
        status = cli.run(["simulate", "--seeds", "2", "--days", "0.5", "--tenants", "2"], {})

        said = capsys.readouterr().out
        assert status == 0
        assert "active -release-> releasing" in said
        assert "2 worlds" in said
        assert said.endswith("every promise held\n")

    def test_gives_one_object_with_the_moves_taken_and_not(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        cli.run(["simulate", "--days", "0.5", "--json"], {})

        told = json.loads(capsys.readouterr().out)
        taken = {(name, move) for name, moves in told["moves"]["taken"].items() for move in moves}
        missing = {(each["machine"], each["move"]) for each in told["moves"]["not_taken"]}
        assert told["ok"]
        assert taken | missing == {(name, move) for name, moves in MOVES.items() for move in moves}
        assert not taken & missing
        assert list(told["fingerprints"]) == ["1"]

    def test_tells_every_event_if_asked_to(self, capsys: pytest.CaptureFixture[str]) -> None:
        cli.run(["simulate", "--days", "0.2", "--tenants", "1", "--story"], {})

        story = capsys.readouterr().err.splitlines()
        assert len(story) > 10
        assert all(line.startswith("2026-01-0") for line in story)
