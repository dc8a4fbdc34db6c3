"""The plots of ``bench_placement_quality``."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from gpucloud_adapters.svg_plot import Axis, dots, lines

HARDEST: Final = "gpuspec33"
FROM: Final = 80


def draw(
    curves: Mapping[str, Iterable[tuple[float, ...]]], rows: list[dict[str, Any]], folder: Path
) -> None:
    """Draw the curves of the hardest workload, by policy, and what every workload lost."""
    folder.mkdir(parents=True, exist_ok=True)
    means = {
        name: [(point, fmean(column)) for point, column in enumerate(zip(*drawn, strict=True))]
        for name, drawn in curves.items()
    }
    arrival = Axis("GPUs asked for, % of all", FROM, 130, range(FROM, 131, 10))
    use = Axis("GPUs in use, %", 70, 100, range(70, 101, 5))
    plot = lines(
        f"Use against demand: {HARDEST}, whole GPUs",
        {name: points[FROM:] for name, points in means.items()},
        x=arrival,
        y=use,
    )
    (folder / "placement-quality-curve.svg").write_text(plot)
    lost = {
        row["workload"]: {
            name: max(0.01, row["bound"] - row[name]) for name in ("gpucloud", "FGD", "BestFit")
        }
        for row in rows
    }
    scale = Axis(
        "GPUs lost against the bound, % of all (log scale)",
        0.01,
        20,
        (0.01, 0.1, 1, 10),
        is_log=True,
    )
    plot = dots("GPUs lost when as many are asked for as there are", lost, x=scale)
    (folder / "placement-quality.svg").write_text(plot)
