"""A plan in words, and as one page with plots that needs nothing else."""

from collections.abc import Sequence
from html import escape
from typing import Final

from gpucloud_adapters.svg_plot import Axis, lines
from gpucloud_core.placement.what_if import Drain, Moment, Outlook

_ROWS: Final = 11  # moments told in words
_DRAINS: Final = 10  # of the advice, told in words
_STYLE: Final = """
:root { color-scheme: light dark;
  --ink: #14181f; --quiet: #475060; --line: #d9dde3; --ground: #fff }
@media (prefers-color-scheme: dark) {
  :root { --ink: #eceef1; --quiet: #b1b8c2; --line: #3d444d; --ground: #101317 }
}
body { font: 15px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem;
  color: var(--ink); background: var(--ground) }
h1 { font-size: 1.4rem } h2 { font-size: 1.05rem; margin-top: 2rem }
.lead { color: var(--quiet) }
figure { margin: 1.5rem 0; padding: .5rem; border: 1px solid var(--line); border-radius: 10px }
svg { width: 100%; height: auto }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100% }
td, th { padding: .35rem .75rem; text-align: right; border-bottom: 1px solid var(--line) }
th { color: var(--quiet); font-weight: 500; font-size: .85rem }
td:first-child, th:first-child { text-align: left; padding-left: 0 }
summary { cursor: pointer; color: var(--quiet); font-size: .85rem }
"""


def text(outlook: Outlook) -> str:
    """Return the plan for a terminal."""
    last, sizes = outlook.moments[-1], list(outlook.moments[-1].room)
    said = [_summary(outlook, last), "", f"{'size':>6} {'asked':>8} {'placed':>8} {'refused':>8}"]
    said += [
        f"{size:>6} {tally.asked:>8} {tally.placed:>8} {tally.refused:>8}"
        for size, tally in outlook.sizes.items()
    ]
    said += ["", "How it develops (room: how many more launches of a size would fit)"]
    said.append(
        f"{'asked':>8} {'GPUs used':>10} {'refused':>8}"
        + "".join(f"{f'room x{size}':>10}" for size in sizes)
    )
    said += [
        f"{moment.asked:>8} {moment.used_gpus:>10} {moment.refused:>8}"
        + "".join(f"{moment.room[size]:>10}" for size in sizes)
        for moment in _few(outlook.moments)
    ]
    if outlook.words:
        said += ["", "The first refusal of each size", *(f"  {words}" for words in outlook.words)]
    return "\n".join([*said, "", *advice(outlook.drains)])


def advice(drains: Sequence[Drain]) -> list[str]:
    """Return what could be drained to get whole nodes back; it is for people to decide."""
    if not drains:
        return ["No drain would make a node whole: what stands could not all stand elsewhere."]
    number = _count(len(drains), "node")
    said = [f"Draining {number} would make as many whole, in this order (never done by itself):"]
    said += [
        f"  {drain.node_id}: {_count(drain.slices, 'slice')}, together "
        f"{_count(drain.gpus_moved, 'GPU')}, would fit on {', '.join(drain.to)}."
        for drain in drains[:_DRAINS]
    ]
    more = len(drains) - _DRAINS
    return [*said, f"  and {more} more"] if more > 0 else said


def page(outlook: Outlook) -> str:
    """Return the plan as one page."""
    last, gpus = outlook.moments[-1], max(1, outlook.gpus)
    end = max(1, last.asked)
    across = Axis("launches asked for", 0, end, [end * part // 5 for part in range(6)])
    use = lines(
        "GPUs in use and refused launches, %",
        {
            "GPUs in use": [(m.asked, 100 * m.used_gpus / gpus) for m in outlook.moments],
            "launches refused": [
                (m.asked, 100 * m.refused / m.asked if m.asked else 0.0) for m in outlook.moments
            ],
        },
        x=across,
        y=Axis("%", 0, 100, range(0, 101, 20)),
    )
    free = lines(
        "Free GPUs that a launch of each size could use, % of all",
        {
            f"{size} GPU{'' if size == 1 else 's'}": [
                (m.asked, 100 * size * m.room[size] / gpus) for m in outlook.moments
            ]
            for size in last.room
        },
        x=across,
        y=Axis("% of all GPUs", 0, 100, range(0, 101, 20)),
    )
    rows = "".join(
        f"<tr><td>{size}</td><td>{tally.asked}</td><td>{tally.placed}</td>"
        f"<td>{tally.refused}</td></tr>"
        for size, tally in outlook.sizes.items()
    )
    words = "".join(f"<li>{escape(said)}</li>" for said in outlook.words)
    drains = "".join(f"<p>{escape(said)}</p>" for said in advice(outlook.drains))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Capacity plan</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>
<body><main><h1>Capacity plan</h1><p class="lead">{escape(_summary(outlook, last))}</p>
<h2>By size</h2><div class="wide"><table><thead><tr><th scope="col">GPUs</th>
<th scope="col">asked</th><th scope="col">placed</th><th scope="col">refused</th></tr></thead>
<tbody>{rows}</tbody></table></div>
<h2>Why launches are refused, the first of each size</h2><ul>{words or "<li>None is.</li>"}</ul>
<h2>How it develops</h2><figure>{use}</figure><figure>{free}</figure>
<details><summary>As a table</summary><div class="wide">{_development(outlook)}</div></details>
<h2>Advice</h2>{drains}</main></body></html>
"""


def _summary(outlook: Outlook, last: Moment) -> str:
    placed = last.asked - last.refused
    used = 100 * last.used_gpus / max(1, outlook.gpus)
    return (
        f"{placed} of {_count(last.asked, 'launch', 'launches')} fit on "
        f"{_count(outlook.gpus, 'GPU')}; {used:.1f} % are in use in the end."
    )


def _development(outlook: Outlook) -> str:
    """Return the plots as a table."""
    sizes = list(outlook.moments[-1].room)
    heads = ["asked", "GPUs used", "refused", *(f"room for {size}" for size in sizes)]
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    rows = "".join(
        f"<tr><td>{moment.asked}</td><td>{moment.used_gpus}</td><td>{moment.refused}</td>"
        + "".join(f"<td>{moment.room[size]}</td>" for size in sizes)
        + "</tr>"
        for moment in _few(outlook.moments)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _few(moments: Sequence[Moment]) -> list[Moment]:
    step = max(1, (len(moments) - 1) // (_ROWS - 1))
    chosen = list(moments[::step])
    return chosen if chosen[-1] is moments[-1] else [*chosen, moments[-1]]


def _count(number: int, word: str, words: str = "") -> str:
    return f"{number} {word if number == 1 else words or f'{word}s'}"
