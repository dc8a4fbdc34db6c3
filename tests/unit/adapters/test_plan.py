"""``gpucloud plan`` from the outside."""

import json
from pathlib import Path

import pytest

from gpucloud_adapters.cli import run
from gpucloud_adapters.svg_plot import Axis, lines

SMALL = ["plan", "--nodes", "2", "--launches", "40", "--seed", "3"]


class TestPlan:
    def test_says_what_fits_what_does_not_and_why(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(SMALL, {}) == 0

        said = capsys.readouterr().out
        assert "fit on 16 GPUs" in said
        assert "1 GPU: Nothing is free now." in said
        assert "room x8" in said

    def test_tells_programs_the_same(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run([*SMALL, "--json"], {}) == 0

        told = json.loads(capsys.readouterr().out)
        assert told["gpus"] == 16
        assert sum(tally["asked"] for tally in told["sizes"].values()) == 40
        assert told["moments"][-1]["refused"] > 0

    def test_plays_launches_that_want_a_disk_with_each_gpu(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        asked = [*SMALL, "--system", "hgx-a100", "--json"]  # four disks to its eight GPUs
        tallies = []
        for beside in ("nothing", "disk"):
            assert run([*asked, "--beside", beside], {}) == 0
            told = json.loads(capsys.readouterr().out)
            tallies.append(told["moments"][-1]["used_gpus"])

        assert tallies == [16, 8]

    def test_draws_a_page_that_needs_nothing_else(self, tmp_path: Path) -> None:
        report = tmp_path / "plan.html"
        assert run([*SMALL, "--report", str(report)], {}) == 0

        page = report.read_text()
        assert page.count("<svg") == 2
        assert "href=" not in page
        assert "<script" not in page

    def test_plays_a_trace_and_advises_drains(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        trace = tmp_path / "trace.csv"
        turns = ["at_seconds,gpus,stays_seconds", "0,4,9", "1,4,", "2,4,9", "3,4,"]
        trace.write_text("\n".join(turns) + "\n30,8,1\n")

        assert run(["plan", "--nodes", "2", "--trace", str(trace)], {}) == 0

        said = capsys.readouterr().out
        assert "4 of 5 launches fit" in said
        assert "Draining 1 node would make as many whole" in said

    @pytest.mark.parametrize(
        ("given", "why"),
        [
            (["--mix", "1-2"], "is not a mix"),
            (["--mix", "0:3"], "start at 1"),
            (["--nodes", "0"], "nodes: Give at least 1"),
            (["--trace", "/nowhere.csv"], "nowhere.csv"),
        ],
    )
    def test_refuses_what_makes_no_sense(
        self, given: list[str], why: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(["plan", *given], {}) == 2
        assert why in capsys.readouterr().err


class TestLines:
    def test_tells_series_apart_by_more_than_colour(self) -> None:
        axis = Axis("x", 1, 1000, (1, 1000), is_log=True)

        drawn = lines("A & B", {"a": [(1, 1)], "b": [(1000, 1000)]}, x=axis, y=axis)

        assert "A &amp; B" in drawn
        assert "<circle" in drawn
        assert "h10v10" in drawn
        assert ">1 k<" in drawn
