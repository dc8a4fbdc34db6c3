"""Charts as data: lines for the browser to draw, and the same facts as a table and a sentence.

Without JavaScript the sentence and the table are there; the drawing is what a script adds.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from gpucloud_web import formats

SERIES_MAX: Final = 4
ROWS_MAX: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a chart. None is a gap: nothing is known there."""

    label: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeChoice:
    """A range in the address."""

    title: str
    href: str
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """All that ``components/chart.html`` may know.

    Attributes:
        data: what the script draws, as JSON: times, lines, unit, whether it steps, its ceiling.
        summary: what it says, in a sentence.
        heads, rows: the same as a table, at most ``ROWS_MAX`` rows of it.
    """

    id: str
    title: str
    summary: str
    data: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    is_empty: bool

    @classmethod
    def of(
        cls,
        *,
        id: str,  # noqa: A002  the element's id
        title: str,
        summary: str,
        times: Sequence[datetime],
        lines: Sequence[Line],
        zone: tzinfo,
        prefix: str = "",
        suffix: str = "",
        steps: bool = False,
        ceiling: float | None = None,
    ) -> "Chart":
        """Make a chart of up to four lines over the same instants."""
        lines = tuple(lines)[:SERIES_MAX]
        data = {
            "times": [round(at.timestamp()) for at in times],
            "lines": [{"label": line.label, "values": list(line.values)} for line in lines],
            "prefix": prefix,
            "suffix": suffix,
            "steps": steps,
            "ceiling": ceiling,
        }
        heads, rows = table_of(times, lines, zone, prefix=prefix, suffix=suffix)
        return cls(
            id=id,
            title=title,
            summary=summary,
            data=json.dumps(data, separators=(",", ":")),
            heads=heads,
            rows=rows,
            is_empty=not any(value is not None for line in lines for value in line.values),
        )


def table_of(
    times: Sequence[datetime],
    lines: Sequence[Line],
    zone: tzinfo,
    *,
    prefix: str = "",
    suffix: str = "",
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return the head and the rows of lines as a table, newest first, at most ``ROWS_MAX``."""
    stride = max(1, -(-len(times) // ROWS_MAX))
    rows = [
        (
            formats.day_time(times[place], zone),
            *(_words(line.values[place], prefix, suffix) for line in lines),
        )
        for place in range(0, len(times), stride)
    ]
    return ("Time", *(line.label for line in lines)), tuple(reversed(rows))


def _words(value: float | None, prefix: str, suffix: str) -> str:
    if value is None:
        return formats.UNKNOWN
    number = f"{value:,.2f}" if prefix else f"{value:,.0f}"
    return f"{prefix}{number}{suffix}"
