"""Small plots as SVG text: lines and rows of dots, readable on light and dark pages.

Every series has a mark of its own beside its colour, so that nothing is told by colour alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

_STYLE: Final = """
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-size: 15px; font-weight: 600 }
  .grid { stroke: #d0d7de; stroke-width: 1 }
  .line { fill: none; stroke-width: 2 }
  .quiet { fill: #57606a }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .grid { stroke: #3d444d } .quiet { fill: #9198a1 }
  }
"""
_COLOURS: Final = ("#2563eb", "#d97706", "#059669", "#9333ea", "#dc2626", "#64748b", "#0891b2")
_MARKS: Final = ("circle", "square", "diamond", "triangle", "cross", "ring", "bar")
WIDTH: Final = 760
_LEFT: Final = 110
_RIGHT: Final = 24
_TOP: Final = 76
_BOTTOM: Final = 46

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """One axis: its words, its ends, and the values that get a line."""

    title: str
    low: float
    high: float
    ticks: Sequence[float]
    is_log: bool = False

    def part(self, value: float) -> float:
        """Return where a value lies, 0 at the low end and 1 at the high one."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def lines(title: str, series: Mapping[str, Points], *, x: Axis, y: Axis) -> str:
    """Return a plot of lines with a mark at each point where points are few."""
    height = 420
    inner = height - _TOP - _BOTTOM

    def at(point: tuple[float, float]) -> tuple[float, float]:
        return _across(x, point[0]), height - _BOTTOM - inner * y.part(point[1])

    parts = [*_x_axis(x, height)]
    for tick in y.ticks:
        level = at((x.low, tick))[1]
        parts.append(_grid(_LEFT, level, WIDTH - _RIGHT, level))
        parts.append(_text(_LEFT - 8, level + 4, _figure(tick), anchor="end", cls="quiet"))
    parts.append(_text(_LEFT, _TOP - 10, y.title, cls="quiet"))
    for number, points in enumerate(series.values()):
        spots = [at(point) for point in points]
        path = " ".join(f"{left:.1f},{top:.1f}" for left, top in spots)
        parts.append(f'<polyline class="line" stroke="{_COLOURS[number]}" points="{path}"/>')
        step = max(1, len(spots) // 6)
        parts.extend(_mark(number, *spot) for spot in spots[number % step :: step])
    return _page(title, height, [*_legend(series), *parts])


def dots(title: str, rows: Mapping[str, Mapping[str, float]], *, x: Axis) -> str:
    """Return a plot with one row of marks for each of ``rows``."""
    height = _TOP + _BOTTOM + 24 * len(rows)
    names = list(next(iter(rows.values())))
    parts = [*_x_axis(x, height)]
    for place, (name, values) in enumerate(rows.items()):
        level = _TOP + 12 + 24 * place
        ends = [_across(x, value) for value in values.values()]
        parts.append(_text(_LEFT - 8, level + 4, name, anchor="end"))
        parts.append(_grid(min(ends), level, max(ends), level))
        parts.extend(
            _mark(names.index(key), _across(x, value), level) for key, value in values.items()
        )
    return _page(title, height, [*_legend(names), *parts])


def _across(x: Axis, value: float) -> float:
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * x.part(value)


def _x_axis(x: Axis, height: int) -> list[str]:
    parts = []
    for tick in x.ticks:
        left = _across(x, tick)
        parts.append(_grid(left, _TOP, left, height - _BOTTOM))
        parts.append(
            _text(left, height - _BOTTOM + 18, _figure(tick), anchor="middle", cls="quiet")
        )
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    return [*parts, _text(middle, height - 8, x.title, anchor="middle", cls="quiet")]


def _legend(names: Mapping[str, object] | Sequence[str]) -> list[str]:
    parts, left = [], 16.0
    for number, name in enumerate(names):
        parts += [_mark(number, left, 46), _text(left + 10, 50, name)]
        left += 30 + 7.5 * len(name)
    return parts


def _page(title: str, height: int, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}">\n<style>{_STYLE}</style>'
    )
    return "\n".join([head, _text(10, 24, title, cls="title"), *parts, "</svg>\n"])


def _grid(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, words: str, *, anchor: str = "start", cls: str = "") -> str:
    kind = f' class="{cls}"' if cls else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(words)}</text>'


def _mark(number: int, x: float, y: float) -> str:
    colour, kind = _COLOURS[number % len(_COLOURS)], _MARKS[number % len(_MARKS)]
    paths = {
        "square": f"M{x - 5:.1f} {y - 5:.1f}h10v10h-10z",
        "diamond": f"M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z",
        "triangle": f"M{x:.1f} {y - 6:.1f}l6 11h-12z",
        "cross": f"M{x - 5:.1f} {y - 5:.1f}l10 10m0 -10l-10 10",
        "bar": f"M{x:.1f} {y - 7:.1f}v14",
    }
    if kind in {"circle", "ring"}:
        fill = colour if kind == "circle" else "none"
        return (
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{fill}" stroke="{colour}" '
            'stroke-width="2"/>'
        )
    fill = "none" if kind in {"cross", "bar"} else colour
    return f'<path d="{paths[kind]}" fill="{fill}" stroke="{colour}" stroke-width="2"/>'


def _figure(value: float) -> str:
    for unit, name in ((1_000_000, " M"), (1_000, " k")):
        if value >= unit and value % unit == 0:
            return f"{int(value) // unit}{name}"
    return f"{value:g}"
