"""View rows of the forms about SKUs: adding one, changing one, and setting its price."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, tzinfo
from typing import Final

from gpucloud_core.catalog.manage import SkuAsked, SkuChanges
from gpucloud_core.catalog.model import USUAL_MIX, Beside, OsImage, Price, Runtime, Sku
from gpucloud_core.catalog.prices import price_at
from gpucloud_core.fleet.sold import SoldSku
from gpucloud_core.kernel.errors import FieldError, ValidationFailed
from gpucloud_core.placement.plan import parse_mix
from gpucloud_web import formats
from gpucloud_web.components import Choice, FieldFault
from gpucloud_web.pages.forms import whole_number
from gpucloud_web.pages.sku_rows import PATH, RUNTIMES
from gpucloud_web.pages.visit import Form, one

_WORDS: Final = ("id", "display_name", "vendor", "gpu_model", "region", "summary")
_SHARES: Final[Mapping[str, str]] = {
    "vcpus_per_gpu": "the vCPUs",
    "memory_gib_per_gpu": "the memory",
}
_MIB: Final = 1024


def _counts(form: Form, faults: list[FieldError]) -> tuple[int, ...]:
    parts = [part for part in one(form, "allowed_gpu_counts").replace(",", " ").split() if part]
    if not parts or not all(part.isascii() and part.isdigit() for part in parts):
        detail = "Give the sizes as numbers, such as 1, 2, 4, 8."
        faults.append(FieldError("/allowed_gpu_counts", "not_a_number", detail))
        return (1,)
    return tuple(int(part[:9]) for part in parts)


def _mix(form: Form, faults: list[FieldError]) -> tuple[tuple[int, int], ...]:
    """Return the expected mix, in the order of its sizes."""
    try:
        return tuple(sorted(parse_mix(one(form, "demand_mix")).items()))
    except ValidationFailed:
        detail = "Give sizes with weights, such as 1:60, 2:15, 8:10."
        faults.append(FieldError("/demand_mix", "invalid", detail))
        return USUAL_MIX


def _raise(faults: Sequence[FieldError]) -> None:
    if faults:
        raise ValidationFailed("The SKU needs another look.", fields=faults)


def asked_of(form: Form) -> SkuAsked:
    """Return the SKU that a form describes.

    Raises:
        ValidationFailed: a number is none, or the runtime is none.
    """
    faults: list[FieldError] = []
    runtime = one(form, "runtime")
    if runtime not in set(Runtime):
        faults.append(FieldError("/runtime", "unknown", "Choose one of the runtimes."))
    numbers = {
        name: whole_number(form, name, faults, called)
        for name, called in {"gpu_memory_gib": "the memory of a GPU", **_SHARES}.items()
    }
    counts, mix = _counts(form, faults), _mix(form, faults)
    _raise(faults)
    said = {name: one(form, name).strip() for name in _WORDS}
    return SkuAsked(
        id=said["id"],
        display_name=said["display_name"],
        vendor=said["vendor"],
        gpu_model=said["gpu_model"],
        region=said["region"],
        summary=said["summary"],
        gpu_memory_mib=numbers["gpu_memory_gib"] * _MIB,
        runtime=Runtime(runtime),
        allowed_gpu_counts=counts,
        vcpus_per_gpu=numbers["vcpus_per_gpu"],
        memory_mib_per_gpu=numbers["memory_gib_per_gpu"] * _MIB,
        beside=Beside.of(disk="disk_per_gpu" in form, nic="nic_per_gpu" in form),
        image_ids=tuple(form.get("image_ids", ())),
        demand_mix=mix,
    )


def changes_of(form: Form, sku: Sku) -> SkuChanges:
    """Return what of ``sku`` a form changes; what is as it was is left out.

    Raises:
        ValidationFailed: a number is none.
    """
    faults: list[FieldError] = []
    vcpus, gib = (whole_number(form, name, faults, called) for name, called in _SHARES.items())
    counts, mix = _counts(form, faults), _mix(form, faults)
    _raise(faults)
    same_memory = gib == round(sku.memory_mib_per_gpu / _MIB)
    wanted = SkuChanges(
        display_name=one(form, "display_name").strip(),
        summary=one(form, "summary").strip(),
        allowed_gpu_counts=counts,
        vcpus_per_gpu=vcpus,
        memory_mib_per_gpu=sku.memory_mib_per_gpu if same_memory else gib * _MIB,
        disk_per_gpu="disk_per_gpu" in form,
        nic_per_gpu="nic_per_gpu" in form,
        image_ids=tuple(form.get("image_ids", ())),
        demand_mix=mix,
    )
    said = {each.name: getattr(wanted, each.name) for each in fields(wanted)}
    beside = {"disk_per_gpu": sku.beside.has_disk, "nic_per_gpu": sku.beside.has_nic}
    known = {name: beside[name] if name in beside else getattr(sku, name) for name in said}
    return SkuChanges(**{name: value for name, value in said.items() if value != known[name]})


@dataclass(frozen=True, slots=True, kw_only=True)
class SkuForm:
    """All that ``skus/form.html`` may know. ``fixed`` says that the SKU is there already."""

    title: str
    sub: str
    action: str
    back: str
    verb: str
    operation: str
    fixed: bool
    values: Mapping[str, str]
    runtimes: tuple[Choice, ...]
    images: tuple[Choice, ...]
    beside: tuple[Choice, ...]
    key: str
    errors: tuple[FieldFault, ...]
    faults: Mapping[str, str]

    @classmethod
    def of(
        cls,
        *,
        images: Sequence[OsImage],
        key: str,
        sku: Sku | None = None,
        form: Form | None = None,
        errors: Sequence[FieldFault] = (),
    ) -> "SkuForm":
        href = f"{PATH}/{sku.id}" if sku else PATH
        chosen = set(
            form.get("image_ids", ()) if form is not None else (sku.image_ids if sku else ())
        )
        runtime = (
            one(form, "runtime")
            if form and not sku
            else (sku.runtime if sku else Runtime.CONTAINER)
        )
        return cls(
            title=f"Edit {sku.display_name}" if sku else "Add SKU",
            sub="Changes hold for what is launched from now on; what runs keeps what it has."
            if sku
            else "It is sold once it has a price.",
            action=f"{href}/edit" if sku else f"{PATH}/new",
            back=href,
            verb="Save changes" if sku else "Add SKU",
            operation="changeSku" if sku else "addSku",
            fixed=sku is not None,
            values=_values(sku, form),
            runtimes=tuple(
                Choice(value=each, text=words, selected=each == runtime)
                for each, words in RUNTIMES.items()
            ),
            images=tuple(
                Choice(
                    value=image.id,
                    text=f"{image.name} {image.version}",
                    selected=image.id in chosen,
                    note=RUNTIMES[image.runtime] if image.active else "not offered now",
                )
                for image in images
                if sku is None or image.runtime is sku.runtime
            ),
            beside=_beside(sku, form),
            key=key,
            errors=tuple(errors),
            faults={fault.field: fault.text for fault in errors if fault.field},
        )


def _beside(sku: Sku | None, form: Form | None) -> tuple[Choice, ...]:
    """Return the two that may come with each GPU, as boxes to tick."""
    known = sku.beside if sku else Beside.NOTHING
    rows = (
        ("disk_per_gpu", "A local NVMe disk", known.has_disk, "Mounted under /data, and wiped."),
        ("nic_per_gpu", "A network port", known.has_nic, "Virtual machines only, as yet."),
    )
    return tuple(
        Choice(value=name, text=text, note=note, selected=has if form is None else name in form)
        for name, text, has, note in rows
    )


def _values(sku: Sku | None, form: Form | None) -> dict[str, str]:
    names = (*_WORDS, *_SHARES, "gpu_memory_gib", "allowed_gpu_counts", "demand_mix")
    fresh = {"allowed_gpu_counts": "1, 2, 4, 8", "demand_mix": _mix_said(USUAL_MIX)}
    known = _said(sku) if sku else fresh
    if form is None:
        return {name: known.get(name, "") for name in names}
    return {name: one(form, name) if name in form else known.get(name, "") for name in names}


def _mix_said(mix: tuple[tuple[int, int], ...]) -> str:
    return ", ".join(f"{size}:{weight}" for size, weight in sorted(mix))


def _said(sku: Sku) -> dict[str, str]:
    return {
        **{name: str(getattr(sku, name)) for name in _WORDS},
        "vcpus_per_gpu": str(sku.vcpus_per_gpu),
        "memory_gib_per_gpu": str(round(sku.memory_mib_per_gpu / _MIB)),
        "gpu_memory_gib": str(round(sku.gpu_memory_mib / _MIB)),
        "allowed_gpu_counts": ", ".join(map(str, sorted(sku.allowed_gpu_counts))),
        "demand_mix": _mix_said(sku.demand_mix),
    }


def price_of(form: Form, zone: tzinfo) -> tuple[int, datetime | None]:
    """Return the price that a form sets, in micro-units, and from when; None is now.

    Raises:
        ValidationFailed: what was typed is no price, or no instant.
    """
    faults: list[FieldError] = []
    begins = None
    micros = formats.parse_amount(one(form, "price"), decimals=formats.PRICE_DECIMALS)
    if micros is None:
        detail = "Type a price, such as 2.49, with four decimals at most."
        faults.append(FieldError("/price", "invalid", detail))
    if text := one(form, "starts_at").strip():
        try:
            local = datetime.fromisoformat(text)
            begins = local if local.tzinfo else local.replace(tzinfo=zone)
        except ValueError:
            faults.append(FieldError("/starts_at", "invalid", "Choose a day and a time."))
    if micros is None or faults:
        raise ValidationFailed("The price needs another look.", fields=faults)
    return micros, begins


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceForm:
    """All that ``skus/price.html`` may know."""

    name: str
    action: str
    back: str
    now_words: str
    kept_words: str
    unit: str
    price: str
    starts_at: str
    zone: str
    key: str
    errors: tuple[FieldFault, ...]
    faults: Mapping[str, str]

    @classmethod
    def of(
        cls,
        sold: SoldSku,
        *,
        zone: tzinfo,
        key: str,
        form: Form | None = None,
        errors: Sequence[FieldFault] = (),
    ) -> "PriceForm":
        href = f"{PATH}/{sold.sku.id}"
        current = price_at(sold.prices, sold.as_of)
        running = sum(each.allocations for each in sold.running)
        named = {"price_micros_per_gpu_hour": "price"}
        renamed = tuple(
            FieldFault(field=named.get(fault.field, fault.field), text=fault.text)
            for fault in errors
        )
        return cls(
            name=sold.sku.display_name,
            action=f"{href}/price",
            back=href,
            now_words=_now_words(current),
            kept_words=f"{formats.counted(running, 'allocation')} run now and keep what they pay."
            if running
            else "Nothing runs on it now.",
            unit=current.currency if current else "USD",
            price=one(form, "price") if form else "",
            starts_at=one(form, "starts_at") if form else "",
            zone=sold.as_of.astimezone(zone).tzname() or "UTC",
            key=key,
            errors=renamed,
            faults={fault.field: fault.text for fault in renamed if fault.field},
        )


def _now_words(current: Price | None) -> str:
    if current is None:
        return "It has no price yet."
    return f"It is {formats.unit_price(current.micros_per_gpu_hour, current.currency)} now."
