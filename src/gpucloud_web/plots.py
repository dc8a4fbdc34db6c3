"""Plots that are drawn here: lines over counted steps, as SVG, with the same facts as a table.

Unlike charts over time they need no script. Every line has a dash of its own and its name at its
end, so that nothing is told by colour alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 720
HEIGHT: Final = 260
LEFT, RIGHT, TOP, BOTTOM = 44, 96, 12, 34
ROWS_MAX: Final = 24
_TICKS: Final = 4
_APART: Final = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line: its name, and a value for each step. Up to four in a plot."""

    label: str
    values: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotLine:
    css: str
    points: str
    label: str
    label_y: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    at: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """All that ``components/plot.html`` may know."""

    id: str
    title: str
    summary: str
    across: str  # what is counted from left to right
    width: int
    height: int
    left: int
    right: int
    bottom: int
    label_x: int
    lines: tuple[PlotLine, ...]
    levels: tuple[Tick, ...]
    steps: tuple[Tick, ...]
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(
        cls,
        *,
        id: str,  # noqa: A002  the element's id
        title: str,
        summary: str,
        across: str,
        steps: Sequence[int],
        series: Sequence[Series],
        suffix: str = "",
        ceiling: float | None = None,
    ) -> "Plot":
        """Make a plot of up to four lines over the same steps."""
        top = ceiling or max((max(one.values) for one in series), default=0) or 1
        end = max(steps[-1], 1)
        labels = _spread([_y(one.values[-1], top) for one in series])
        lines = tuple(
            PlotLine(
                css=f"s{number}",
                points=" ".join(
                    f"{_x(step, end):.1f},{_y(value, top):.1f}"
                    for step, value in zip(steps, one.values, strict=True)
                ),
                label=one.label,
                label_y=labels[number - 1],
            )
            for number, one in enumerate(series[:4], start=1)
        )
        stride = max(1, -(-len(steps) // ROWS_MAX))
        chosen = sorted({*range(0, len(steps), stride), len(steps) - 1})
        return cls(
            id=id,
            title=title,
            summary=summary,
            across=across,
            width=WIDTH,
            height=HEIGHT,
            left=LEFT,
            right=WIDTH - RIGHT,
            bottom=HEIGHT - BOTTOM,
            label_x=WIDTH - RIGHT + 6,
            lines=lines,
            levels=tuple(
                Tick(
                    at=round(_y(top * part / _TICKS, top)),
                    text=f"{top * part / _TICKS:,.0f}{suffix}",
                )
                for part in range(_TICKS + 1)
            ),
            steps=tuple(
                Tick(at=round(_x(step, end)), text=f"{step:,}")
                for step in sorted({end * part // _TICKS for part in range(_TICKS + 1)})
            ),
            heads=(across[:1].upper() + across[1:], *(one.label for one in series)),
            rows=tuple(
                (
                    f"{steps[place]:,}",
                    *(f"{one.values[place]:,.0f}{suffix}" for one in series),
                )
                for place in chosen
            ),
        )


def _x(step: float, end: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * step / end


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(value / top, 1)


def _spread(levels: Sequence[float]) -> list[int]:
    """Return heights for the names at the lines' ends, moved apart until all can be read."""
    order = sorted(range(len(levels)), key=lambda place: levels[place])
    found = [0.0] * len(levels)
    above = -_APART * 1.0
    for place in order:
        above = found[place] = max(levels[place] + 4, above + _APART)
    over = above - (HEIGHT - BOTTOM + 4)
    if over > 0:  # too low for all of them: the lowest stands on the floor, the others above it
        below = HEIGHT - BOTTOM + 4 + _APART * 1.0
        for place in reversed(order):
            below = found[place] = min(found[place], below - _APART)
    return [round(level) for level in found]
