"""View rows of the launch wizard: the step at hand, the quote beside it, every check."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Final

from gpucloud_core.access.model import SshKey
from gpucloud_core.allocations.quote import Quote as LaunchQuote
from gpucloud_core.catalog.model import OsImage
from gpucloud_core.catalog.offers import Offer
from gpucloud_core.placement.model import Within
from gpucloud_web import formats
from gpucloud_web.components import (
    Choice,
    Fact,
    FieldFault,
    OptionCard,
    Quote,
    WizardStep,
)
from gpucloud_web.pages.addresses import address
from gpucloud_web.pages.catalog_rows import BESIDE, SHAPES, free_words, is_sold_out
from gpucloud_web.pages.launch_draft import STEPS, Draft
from gpucloud_web.pages.launch_places import WhereView, where_view
from gpucloud_web.pages.launch_quote import PLANS, quote_panel


def completed(
    draft: Draft,
    offers: Sequence[Offer],
    images: Sequence[OsImage],
    keys: Sequence[SshKey],
    image_ids: Mapping[str, Sequence[str]],
) -> Draft:
    """Fill in what has one answer: the smallest free size, the first image, the only key."""
    offer = next((one for one in offers if one.sku == draft.sku), None)
    if offer is None:
        return replace(draft, sku="", gpu_count="", image="") if draft.sku else draft
    if not draft.gpu_count:
        free = [count for count in offer.allowed_gpu_counts if offer.available[str(count)]]
        smallest = (free or list(offer.allowed_gpu_counts) or [0])[0]
        draft = replace(draft, gpu_count=str(smallest))
    known = {image.id for image in images}
    offered = [one for one in image_ids.get(offer.sku, ()) if one in known]
    if not draft.image and offered:
        draft = replace(draft, image=offered[0])
    if not draft.keys and "access" not in draft.seen and len(keys) == 1:
        draft = replace(draft, keys=(keys[0].id,))
    return draft


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPage:
    """All that ``launch/index.html`` and its steps may know."""

    step: str
    title: str
    steps: tuple[WizardStep, ...]
    draft: str
    idempotency_key: str
    errors: tuple[FieldFault, ...]
    error_title: str
    faults: Mapping[str, str]
    back: str
    back_title: str
    next_title: str
    next: str
    quote: Quote
    where: WhereView
    project: str
    hardware: tuple[OptionCard, ...]
    sizes: tuple[OptionCard, ...]
    sizes_note: str
    as_of: str
    count: str
    spread: bool
    near: tuple[Choice, ...]
    images: tuple[OptionCard, ...]
    ssh_cidrs: str
    ports: str
    keys: tuple[Choice, ...]
    name: str
    plans: tuple[OptionCard, ...]
    hours: str
    review: tuple[Fact, ...]


NEAR: Final[Mapping[str, str]] = {
    "": "Anywhere, each machine on its own",
    Within.FABRIC: "In one fabric, all or none",
    Within.POD: "In one pod, all or none",
    Within.GROUP: "Under one leaf or in one rail group, all or none",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """What the wizard offers to choose from, read for one visit."""

    offers: Sequence[Offer]
    images: Sequence[OsImage]
    image_ids: Mapping[str, Sequence[str]]  # by SKU
    keys: Sequence[SshKey]
    project: str
    now: datetime
    zone: tzinfo

    def offer(self, sku: str) -> Offer | None:
        return next((one for one in self.offers if one.sku == sku), None)


def launch_page(
    draft: Draft,
    shelf: Shelf,
    *,
    step: str,
    quote: LaunchQuote | None,
    errors: Sequence[FieldFault] = (),
    error_title: str = "Not launched; nothing was charged.",
    idempotency_key: str = "",
) -> LaunchPage:
    """Return the page of one step."""
    names = list(STEPS)
    at = names.index(step)
    following = names[at + 1] if at + 1 < len(names) else ""
    offer = shelf.offer(draft.sku)
    return LaunchPage(
        step=step,
        title=STEPS[step],
        steps=_steps(draft, shelf, step),
        draft=draft.cookie(),
        idempotency_key=idempotency_key,
        errors=tuple(errors),
        error_title=error_title,
        faults={fault.field: fault.text for fault in errors if fault.field},
        back=address("/launch", step=names[at - 1]) if at else "",
        back_title=STEPS[names[at - 1]] if at else "",
        next_title=STEPS[following] if following else "",
        next=following,
        quote=quote_panel(draft, quote, step=step, now=shelf.now, zone=shelf.zone),
        where=where_view(quote),
        project=shelf.project,
        hardware=_hardware(draft, shelf.offers),
        sizes=_sizes(draft, offer),
        sizes_note=_sizes_note(offer),
        as_of=formats.clock_time(offer.as_of if offer else shelf.now, shelf.zone),
        count=draft.count,
        spread=bool(draft.spread),
        near=tuple(
            Choice(value=value, text=text, selected=value == draft.near)
            for value, text in NEAR.items()
        ),
        images=_images(draft, shelf),
        ssh_cidrs=draft.ssh_cidrs,
        ports=draft.ports,
        keys=tuple(
            Choice(
                value=key.id,
                text=key.name,
                note=f"{key.type} · {key.fingerprint}",
                selected=key.id in draft.keys,
            )
            for key in shelf.keys
        ),
        name=draft.name,
        plans=tuple(
            OptionCard(
                value=plan.value,
                big="",
                strong=words,
                text=text,
                chosen=plan.value == draft.end_of_balance,
            )
            for plan, (words, text) in PLANS.items()
        ),
        hours=draft.hours,
        review=_review(draft, shelf),
    )


def _steps(draft: Draft, shelf: Shelf, here: str) -> tuple[WizardStep, ...]:
    notes = _notes(draft, shelf)
    return tuple(
        WizardStep(
            number=number,
            title=title,
            note=notes[name],
            href=address("/launch", step=name),
            state="now" if name == here else ("done" if name in draft.seen else "todo"),
        )
        for number, (name, title) in enumerate(STEPS.items(), start=1)
    )


def _notes(draft: Draft, shelf: Shelf) -> dict[str, str]:
    offer = shelf.offer(draft.sku)
    image = next((one for one in shelf.images if one.id == draft.image), None)
    chosen = len([key for key in shelf.keys if key.id in draft.keys])
    size = _size(draft) if draft.gpu_count else ""
    return {
        "hardware": offer.display_name if offer else "",
        "capacity": f"{size} × {draft.count}" if size else "",
        "image": f"{image.name} {image.version}" if image else "",
        "network": "limited SSH" if draft.ssh_cidrs else "public SSH",
        "access": formats.counted(chosen, "key") if chosen else "no key yet",
        "review": "",
    }


def _size(draft: Draft) -> str:
    return formats.counted(int(draft.gpu_count) if draft.gpu_count.isdigit() else 0, "GPU")


def _hardware(draft: Draft, offers: Sequence[Offer]) -> tuple[OptionCard, ...]:
    return tuple(
        OptionCard(
            value=offer.sku,
            big=offer.display_name,
            strong=formats.unit_price(offer.price_micros_per_gpu_hour, offer.currency),
            text=f"{offer.vendor} · {SHAPES[offer.shape]} · {offer.region} · "
            + free_words(max(offer.available.values(), default=0), 1)
            + (f" · with each GPU {BESIDE[offer.beside]}" if BESIDE[offer.beside] else ""),
            chosen=offer.sku == draft.sku,
            off=is_sold_out(offer),
            off_text="Unavailable: nothing of it is free just now.",
        )
        for offer in offers
    )


def _sizes(draft: Draft, offer: Offer | None) -> tuple[OptionCard, ...]:
    if offer is None:
        return ()
    return tuple(
        OptionCard(
            value=str(count),
            big=str(count),
            strong=formats.hourly(offer.price_micros_per_gpu_hour * count, offer.currency)
            if free
            else "Unavailable",
            text=free_words(free, count),
            chosen=str(count) == draft.gpu_count,
            off=not free,
            off_text="No node has a set of this size free.",
        )
        for count in offer.allowed_gpu_counts
        for free in (offer.available[str(count)],)
    )


def _sizes_note(offer: Offer | None) -> str:
    if offer is None:
        return ""
    sold = offer.allowed_gpu_counts
    missing = [count for count in range(1, max(sold, default=0)) if count not in sold]
    if not missing:
        return ""
    listed = ", ".join(map(str, missing[:-1]))
    words = f"{listed} and {missing[-1]}" if listed else str(missing[-1])
    verb = "are" if len(missing) > 1 else "is"
    return f"{words} {verb} not offered: the GPUs of a set have to fit one node's topology."


def _images(draft: Draft, shelf: Shelf) -> tuple[OptionCard, ...]:
    offered = shelf.image_ids.get(draft.sku, ())
    return tuple(
        OptionCard(
            value=image.id,
            big=image.name,
            strong=image.version,
            text=image.summary or f"you sign in as {image.username}",
            chosen=image.id == draft.image,
        )
        for image in shelf.images
        if image.id in offered
    )


def _review(draft: Draft, shelf: Shelf) -> tuple[Fact, ...]:
    offer = shelf.offer(draft.sku)
    image = next((one for one in shelf.images if one.id == draft.image), None)
    names = ", ".join(key.name for key in shelf.keys if key.id in draft.keys)
    price = formats.unit_price(offer.price_micros_per_gpu_hour, offer.currency) if offer else ""
    spread = ", each on its own node" if draft.spread else ""
    together = draft.request().together
    return (
        Fact(label="Project", value=shelf.project),
        Fact(label="Hardware", value=offer.display_name if offer else "not chosen"),
        Fact(label="Size", value=f"{_size(draft)} × {draft.count}{spread}"),
        *((Fact(label="Near each other", value=NEAR[draft.near]),) if together else ()),
        *_beside_facts(offer),
        Fact(label="Price", value=price or formats.UNKNOWN),
        Fact(label="Image", value=f"{image.name} {image.version}" if image else "not chosen"),
        Fact(label="SSH from", value=" ".join(draft.ssh_cidrs.split()) or "anywhere"),
        Fact(label="Other ports", value="; ".join(draft.ports.splitlines()) or "closed"),
        Fact(label="SSH keys", value=names or "none chosen"),
        Fact(label="Tax", value="none on usage; any is shown when you add funds"),
    )


def _beside_facts(offer: Offer | None) -> tuple[Fact, ...]:
    words = BESIDE[offer.beside] if offer else ""
    return (Fact(label="With each GPU", value=words),) if words else ()
