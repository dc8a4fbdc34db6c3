"""Small multiples: one small drawing a thing, all on one scale, with the same facts as a table.

They are drawn here, so they need no script. What is not known is a gap in the line, never a zero.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from gpucloud_web import formats
from gpucloud_web.charts import Line, table_of

WIDTH: Final = 240
HEIGHT: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Spark:
    """One small drawing: its name, the newest value, and the paths of its line and area."""

    label: str
    now: str
    summary: str
    line: str
    area: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparks:
    """All that ``components/sparks.html`` may know."""

    id: str
    title: str
    about: str
    sparks: tuple[Spark, ...]
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(
        cls,
        *,
        id: str,  # noqa: A002  the element's id
        title: str,
        about: str,
        times: Sequence[datetime],
        lines: Sequence[Line],
        zone: tzinfo,
        suffix: str,
        ceiling: float,
    ) -> "Sparks":
        """Draw each line by itself between 0 and ``ceiling``."""
        heads, rows = table_of(times, lines, zone, suffix=suffix)
        return cls(
            id=id,
            title=title,
            about=about,
            sparks=tuple(_spark(line, suffix, ceiling) for line in lines),
            heads=heads,
            rows=rows,
        )


def _spark(line: Line, suffix: str, ceiling: float) -> Spark:
    known = [value for value in line.values if value is not None]
    now, summary = formats.UNKNOWN, "no readings"
    if known:
        now = f"{known[-1]:.0f}{suffix}"
        mean = sum(known) / len(known)
        summary = f"{now} at the end, {min(known):.0f} to {max(known):.0f}{suffix}, "
        summary += f"{mean:.0f}{suffix} on average"
    runs = list(_runs(line.values, ceiling))
    return Spark(
        label=line.label,
        now=now,
        summary=summary,
        line="".join(_path(run) for run in runs),
        area="".join(f"{_path(run)}V{HEIGHT}H{_number(run[0][0])}Z" for run in runs),
    )


def _runs(values: Sequence[float | None], ceiling: float) -> Iterator[list[tuple[float, float]]]:
    """Give the points of each stretch in which something is known, in the drawing's own units."""
    step = WIDTH / max(len(values) - 1, 1)
    run: list[tuple[float, float]] = []
    for place, value in enumerate((*values, None)):
        if value is not None:
            level = min(max(value / ceiling, 0.0), 1.0)
            run.append((place * step, 1 + (HEIGHT - 2) * (1 - level)))
        elif run:
            if len(run) == 1:  # a lone reading is seen too
                run.append((run[0][0] + 1, run[0][1]))
            yield run
            run = []


def _path(run: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in run)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
