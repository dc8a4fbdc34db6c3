"""Whose turn it is: fair among tenants, first come first served within one.

Each entry has a turn number, as in start-time fair queueing: a tenant's entries are one turn
apart, and a tenant who comes late joins at the turn that is being served. So two tenants who both
wait are served alternately, however many entries one of them has, and a turn never changes.
Source: Goyal, Vin and Cheng, Start-time Fair Queueing (SIGCOMM 1996), section 2.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from gpucloud_core.placement.choose import choose
from gpucloud_core.placement.explain import explain_refusal
from gpucloud_core.placement.fleet_image import FleetImage
from gpucloud_core.placement.model import PlacementRequest, Refusal
from gpucloud_core.waitlist.lifecycle import WaitEvent
from gpucloud_core.waitlist.model import WaitEntry, WaitKind, WaitState


def in_turn(entries: Iterable[WaitEntry]) -> tuple[WaitEntry, ...]:
    """Return those that wait, in the order in which they are served."""
    waiting = (entry for entry in entries if entry.state is WaitState.WAITING)
    return tuple(sorted(waiting, key=lambda entry: (entry.turn, entry.created_at, entry.id)))


def next_turn(waiting: Iterable[WaitEntry], own: Iterable[WaitEntry]) -> int:
    """Return the turn of a tenant's new entry.

    ``waiting`` is the whole queue of its pool; ``own`` is all the tenant ever had there.
    """
    served = min((entry.turn for entry in waiting), default=0)
    return max(served, max((entry.turn + 1 for entry in own), default=served))


@dataclass(frozen=True, slots=True)
class Serve:
    """The entry's turn has come and ``request`` fits: ``event`` is ``LAUNCH`` or ``OFFER``."""

    entry: WaitEntry
    event: WaitEvent
    request: PlacementRequest


@dataclass(frozen=True, slots=True)
class End:
    """The entry ends: ``EXPIRE`` or ``LAPSE``."""

    entry: WaitEntry
    event: WaitEvent


@dataclass(frozen=True, slots=True)
class PassOver:
    """Others are served before it, for ``reason``."""

    entry: WaitEntry
    reason: str


_SERVED: Final = {WaitKind.LAUNCH: WaitEvent.LAUNCH, WaitKind.NOTIFY: WaitEvent.OFFER}

Turn: TypeAlias = Serve | End | PassOver


def take_turns(
    entries: Sequence[WaitEntry],
    image: FleetImage,
    requests: Mapping[str, PlacementRequest],
    prices: Mapping[str, int],
    now: datetime,
) -> tuple[Turn, ...]:
    """Return what becomes of each entry of one pool now. Pure: the image is left as it was.

    What is offered keeps its room from those behind it. Whoever does not fit is passed over and
    keeps the turn; smaller ones behind may use what is too little for it.

    Args:
        entries: all that wait or were offered.
        image: what is free.
        requests: by entry id, what placement is asked for; one without can not be served now.
        prices: by SKU, micros per GPU and hour now; one without is not sold.
        now: the database's time.
    """
    turns: list[Turn] = []
    with image.scratch():
        for entry in entries:
            if entry.state is not WaitState.OFFERED:
                continue
            if entry.due_at is not None and entry.due_at <= now:
                turns.append(End(entry, WaitEvent.LAPSE))
            else:
                _place(entry, image, requests)
        turns += [_turn(entry, image, requests, prices, now) for entry in in_turn(entries)]
    return tuple(turns)


def _turn(
    entry: WaitEntry,
    image: FleetImage,
    requests: Mapping[str, PlacementRequest],
    prices: Mapping[str, int],
    now: datetime,
) -> Turn:
    if entry.expires_at <= now:
        return End(entry, WaitEvent.EXPIRE)
    reason = _kept_back(entry, prices, now)
    if reason is None:
        reason = _place(entry, image, requests)
    if reason is not None:
        return PassOver(entry, reason)
    return Serve(entry, _SERVED[entry.kind], requests[entry.id])


def _kept_back(entry: WaitEntry, prices: Mapping[str, int], now: datetime) -> str | None:
    """Return why the entry does not want to be served now, or None if it does."""
    if entry.due_at is not None and entry.due_at > now:
        return entry.reason  # it was refused a moment ago, and waits a little
    price = prices.get(entry.sku_id)
    if price is None:
        return "It is not sold at the moment."
    if entry.price_max_micros is not None and price > entry.price_max_micros:
        return "Its price is above your limit."
    return None


def _place(
    entry: WaitEntry, image: FleetImage, requests: Mapping[str, PlacementRequest]
) -> str | None:
    """Take the entry's room in the image; return why there is none, or None."""
    request = requests.get(entry.id)
    if request is None:
        return "It is not sold in this size at the moment."
    decision = choose(request, image)
    if isinstance(decision, Refusal):
        return " ".join(explain_refusal(decision))
    for place in decision.places:
        image.take(place, request)
    return None
