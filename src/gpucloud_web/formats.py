"""Money, time, durations, sizes and counts in words. Pure, and the only rounding for display.

Money arrives as whole micro-units and is rounded here, half away from zero, never before. Totals
show two decimals and unit prices four; a column never mixes them. What is unknown is a dash,
which is not zero.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from gpucloud_core.billing.amounts import SYMBOLS

UNKNOWN: Final = "—"
MINUS: Final = "−"
PRICE_DECIMALS: Final = 4
_MICROS: Final = 1_000_000
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_KIB: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """An instant as a page shows it: words, the machine's form, and the full form on hover."""

    text: str
    iso: str
    full: str


def amount(micros: int, currency: str = "USD", *, places: int = 2) -> str:
    """Return money with ``places`` decimals, such as ``$1,284.37`` or ``−$0.53``."""
    step = 10 ** (6 - places)
    units = (abs(micros) + step // 2) // step
    whole, fraction = divmod(units, 10**places)
    digits = f"{whole:,}" + (f".{fraction:0{places}d}" if places else "")
    symbol = SYMBOLS.get(currency)
    text = f"{symbol}{digits}" if symbol else f"{digits} {currency}"
    return MINUS + text if micros < 0 and units else text


def unit_price(micros_per_gpu_hour: int, currency: str = "USD") -> str:
    """Return a price of one GPU for one hour, such as ``$2.4900 / GPU-h``."""
    return f"{amount(micros_per_gpu_hour, currency, places=4)} / GPU-h"


def hourly(micros_per_hour: int, currency: str = "USD") -> str:
    """Return a rate, such as ``$19.92/h``."""
    return f"{amount(micros_per_hour, currency)}/h"


def daily(micros_per_hour: int, currency: str = "USD") -> str:
    """Return what a rate comes to in a day, such as ``about $478/day``."""
    return f"about {amount(micros_per_hour * 24, currency, places=0)}/day"


def parse_amount(text: str, *, decimals: int = 2) -> int | None:
    """Return the micro-units that a person typed, such as ``1,250.50`` or ``$ 40``; None if none.

    Finer than ``decimals`` is none: two are what a payment provider can take, and unit prices are
    shown with ``PRICE_DECIMALS``.
    """
    kept = text.strip().lstrip("$€£").replace(",", "").replace(" ", "")
    whole, dot, fraction = kept.partition(".")
    plain = whole.isascii() and whole.isdigit() and len(whole) <= 9  # noqa: PLR2004  a billion
    fits = (not fraction and not dot) or (
        fraction.isascii() and fraction.isdigit() and len(fraction) <= decimals
    )
    if not (plain and fits):
        return None
    return int(whole) * _MICROS + int(fraction.ljust(6, "0") if fraction else "0")


def duration(seconds: float) -> str:
    """Return a length of time, two units at most: ``0.3 s``, ``1 min 43 s``, ``2 h 05 min``."""
    if seconds < 1:
        return "under 0.1 s" if seconds < 0.05 else f"{seconds:.1f} s"  # noqa: PLR2004
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        minutes, rest = divmod(whole, _MINUTE)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    if whole < _DAY:
        hours, rest = divmod(whole, _HOUR)
        return f"{hours} h {rest // _MINUTE:02d} min"
    days, rest = divmod(whole, _DAY)
    return f"{days} d {rest // _HOUR} h"


def span(start: datetime, end: datetime) -> str:
    """Return how long it is from ``start`` to ``end``."""
    return duration(max(0.0, (end - start).total_seconds()))


def clock_time(instant: datetime, zone: tzinfo = UTC) -> str:
    """Return the time of day, such as ``17:06:02``."""
    return instant.astimezone(zone).strftime("%H:%M:%S")


def day_time(instant: datetime, zone: tzinfo = UTC) -> str:
    """Return date and time to the minute, such as ``2026-11-22 17:06``."""
    return instant.astimezone(zone).strftime("%Y-%m-%d %H:%M")


def short_time(instant: datetime, now: datetime, zone: tzinfo = UTC) -> str:
    """Return ``17:06`` on the same day, else ``21 Nov 17:06``."""
    local = instant.astimezone(zone)
    if local.date() == now.astimezone(zone).date():
        return local.strftime("%H:%M")
    return f"{local.day} {local.strftime('%b %H:%M')}"


def moment(instant: datetime, now: datetime, zone: tzinfo = UTC) -> Moment:
    """Return ``instant`` in words: relative within a day of ``now``, else its date and time."""
    return Moment(
        text=_relative(instant - now) or day_time(instant, zone),
        iso=instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        full=_both_zones(instant, zone),
    )


def _relative(distance: timedelta) -> str:
    seconds = int(abs(distance).total_seconds())
    if seconds >= _DAY:
        return ""
    if seconds < 1:
        return "now"
    if seconds < _MINUTE:
        text = f"{seconds} s"
    elif seconds < _HOUR:
        text = f"{seconds // _MINUTE} min"
    else:
        text = f"{seconds // _HOUR} h"
    return f"{text} ago" if distance < timedelta() else f"in {text}"


def _both_zones(instant: datetime, zone: tzinfo) -> str:
    utc = f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    local = instant.astimezone(zone)
    if local.utcoffset() == timedelta():
        return utc
    return f"{local:%Y-%m-%d %H:%M:%S %Z} ({utc})"


def zone_of(name: str) -> tzinfo:
    """Return the time zone a browser names, or UTC if it is none we know."""
    try:
        return ZoneInfo(name) if name else UTC
    except (KeyError, ValueError, OSError):
        return UTC


def gibibytes(mebibytes: int) -> str:
    """Return memory, such as ``256 GiB`` or ``1.5 TiB``."""
    if mebibytes >= _KIB * _KIB:
        return f"{mebibytes / _KIB / _KIB:.1f}".removesuffix(".0") + " TiB"
    return f"{round(mebibytes / _KIB)} GiB"


def terabytes(size_bytes: int) -> str:
    """Return the size of a disk as its maker says it, such as ``3.84 TB`` or ``960 GB``."""
    if size_bytes < 10**12:
        return f"{round(size_bytes / 10**9)} GB"
    return f"{size_bytes / 10**12:.2f}".rstrip("0").rstrip(".") + " TB"


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun, such as ``1 workload`` or ``1,204 workloads``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def gpu_set(indexes: tuple[int, ...]) -> str:
    """Return which GPUs of a node, such as ``GPU 5`` or ``GPUs 0–3, 6``."""
    if not indexes:
        return UNKNOWN
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    text = ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
    return f"GPU{'s' if len(indexes) > 1 else ''} {text}"


def initials(name: str) -> str:
    """Return one or two letters that stand for a name."""
    words = [word for word in name.replace("-", " ").replace("_", " ").split() if word]
    if not words:
        return "?"
    return (words[0][0] + (words[1][0] if len(words) > 1 else words[0][1:2])).upper()


def shortened(entity_id: str) -> str:
    """Return the first characters of a long id, with an ellipsis; the whole is there to copy."""
    head, _, tail = entity_id.partition("_")
    return f"{head}_{tail[:10]}…" if len(tail) > 12 else entity_id  # noqa: PLR2004
