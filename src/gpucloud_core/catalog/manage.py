"""What operators do with the catalog: SKUs and their prices over time.

A price never changes once it has begun: a new one begins later, and what runs keeps the rate it
was launched at. A SKU is never deleted, as allocations of the past name it; it is taken off sale.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Final

from gpucloud_core.access.acting import fact_by
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.catalog.model import (
    NAME_MAX,
    SUMMARY_MAX,
    USUAL_MIX,
    Beside,
    Price,
    Runtime,
    Shape,
    Sku,
)
from gpucloud_core.catalog.ports import CatalogUnit
from gpucloud_core.kernel.errors import (
    AlreadyExists,
    Conflict,
    FieldError,
    NotFound,
    ValidationFailed,
)
from gpucloud_core.kernel.ids import ImageId, SkuId
from gpucloud_core.kernel.time import rfc3339
from gpucloud_core.kernel.unit import Json, Scope, Transactions

GPUS_MAX: Final = 64
WEIGHT_MAX: Final = 10_000
PRICE_MAX_MICROS: Final = 1_000_000_000
_SKU: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_SHAPES: Final = {
    Runtime.CONTAINER: Shape.GPU_SLICE,
    Runtime.VM: Shape.GPU_SLICE,
    Runtime.BARE_METAL: Shape.BARE_METAL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SkuAsked:
    """A SKU as an operator describes it; the shape follows from the runtime."""

    id: str
    display_name: str
    vendor: str
    gpu_model: str
    gpu_memory_mib: int
    runtime: Runtime
    region: str
    allowed_gpu_counts: tuple[int, ...]
    vcpus_per_gpu: int
    memory_mib_per_gpu: int
    beside: Beside = Beside.NOTHING
    image_ids: tuple[str, ...] = ()
    demand_mix: tuple[tuple[int, int], ...] = USUAL_MIX
    summary: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkuChanges:
    """What of a SKU may change; None leaves it. What was launched keeps what it has."""

    display_name: str | None = None
    allowed_gpu_counts: tuple[int, ...] | None = None
    vcpus_per_gpu: int | None = None
    memory_mib_per_gpu: int | None = None
    disk_per_gpu: bool | None = None
    nic_per_gpu: bool | None = None
    image_ids: tuple[str, ...] | None = None
    demand_mix: tuple[tuple[int, int], ...] | None = None
    summary: str | None = None
    active: bool | None = None

    def of(self, known: Sku) -> dict[str, object]:
        """Return what is said of the fields of a SKU."""
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        disk, nic = said.pop("disk_per_gpu"), said.pop("nic_per_gpu")
        if disk is not None or nic is not None:
            said["beside"] = Beside.of(
                disk=known.beside.has_disk if disk is None else disk,
                nic=known.beside.has_nic if nic is None else nic,
            )
        return {name: value for name, value in said.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class AddSku:
    """Put something new into the catalog; it is sold once it has a price."""

    transactions: Transactions[CatalogUnit]

    async def __call__(self, *, actor: Actor, asked: SkuAsked) -> Sku:
        """Add it.

        Raises:
            Forbidden: the actor is no administrator of the platform.
            ValidationFailed: single fields make no sense, or an image does not run there.
            AlreadyExists: there is a SKU of this id.
        """
        require(actor, Action.CATALOG_MANAGE)
        async with self.transactions.begin(Scope.platform()) as unit:
            values = {field.name: getattr(asked, field.name) for field in fields(asked)}
            made = Sku(
                **{**values, "id": SkuId(asked.id)},
                shape=_SHAPES[asked.runtime],
                created_at=await unit.now(),
            )
            await _check(unit, made)
            if await unit.skus.get(made.id) is not None:
                detail = f"There is a SKU called {made.id}."
                raise AlreadyExists(detail, fields=[FieldError("/id", "taken", detail)])
            await unit.skus.add(made)
            await unit.audit(fact_by(actor, action="sku.add", target=made.id))
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSku:
    """Change what a SKU offers from now on."""

    transactions: Transactions[CatalogUnit]

    async def __call__(self, *, actor: Actor, sku_id: SkuId, changes: SkuChanges) -> Sku:
        """Change it.

        Raises:
            Forbidden, ValidationFailed: as for adding one.
            NotFound: there is no such SKU.
        """
        require(actor, Action.CATALOG_MANAGE)
        async with self.transactions.begin(Scope.platform()) as unit:
            known = await unit.skus.lock(sku_id)
            if known is None:
                raise NotFound("There is no SKU with this id.")
            said = changes.of(known)
            changed = replace(known, **said)  # type: ignore[arg-type]  # its own fields
            await _check(unit, changed)
            await unit.skus.put(changed)
            told: dict[str, Json] = {
                name: [str(getattr(known, name)), str(value)] for name, value in said.items()
            }
            await unit.audit(fact_by(actor, action="sku.change", target=sku_id, changes=told))
        return changed


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPrice:
    """Give a SKU a price from an instant on."""

    transactions: Transactions[CatalogUnit]

    async def __call__(
        self,
        *,
        actor: Actor,
        sku_id: SkuId,
        micros_per_gpu_hour: int,
        currency: str,
        starts_at: datetime | None = None,
    ) -> Price:
        """Set it, from now or from a later instant; what runs keeps its rate.

        Raises:
            Forbidden: the actor is no administrator of the platform.
            NotFound: there is no such SKU.
            ValidationFailed: it begins in the past, or is no price.
            AlreadyExists: another price begins at the same instant.
        """
        require(actor, Action.CATALOG_MANAGE)
        async with self.transactions.begin(Scope.platform()) as unit:
            now = await unit.now()
            begins = starts_at or now
            if await unit.skus.lock(sku_id) is None:
                raise NotFound("There is no SKU with this id.")
            if faults := list(_price_faults(micros_per_gpu_hour, currency, begins, now)):
                raise ValidationFailed("The price needs another look.", fields=faults)
            price = Price(
                id=f"{sku_id}/{rfc3339(begins)}",
                sku_id=sku_id,
                micros_per_gpu_hour=micros_per_gpu_hour,
                currency=currency,
                starts_at=begins,
            )
            await unit.prices.add(price)
            told: dict[str, Json] = {"micros_per_gpu_hour": [None, micros_per_gpu_hour]}
            await unit.audit(fact_by(actor, action="sku.set_price", target=sku_id, changes=told))
        return price


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawPrice:
    """Take back a price that has not begun; the one before it goes on."""

    transactions: Transactions[CatalogUnit]

    async def __call__(self, *, actor: Actor, sku_id: SkuId, starts_at: datetime) -> Price:
        """Take it back and return what it was.

        Raises:
            Forbidden: the actor is no administrator of the platform.
            NotFound: no price of this SKU begins at that instant.
            Conflict: it has begun: what was charged is not changed.
        """
        require(actor, Action.CATALOG_MANAGE)
        async with self.transactions.begin(Scope.platform()) as unit:
            await unit.skus.lock(sku_id)
            found = await unit.prices.find(sku_id=sku_id, starts_at=starts_at)
            if not found:
                raise NotFound("No price of this SKU begins at this instant.")
            (price,) = found
            if price.starts_at <= await unit.now():
                raise Conflict("This price has begun. Set another one; what was charged stays.")
            await unit.prices.delete(price.id)
            told: dict[str, Json] = {"micros_per_gpu_hour": [price.micros_per_gpu_hour, None]}
            await unit.audit(
                fact_by(actor, action="sku.withdraw_price", target=sku_id, changes=told)
            )
        return price


async def _check(unit: CatalogUnit, sku: Sku) -> None:
    faults = list(sku_faults(sku))
    images = {image.id: image for image in await unit.os_images.find_any("id", sku.image_ids)}
    for place, image_id in enumerate(sku.image_ids):
        image = images.get(ImageId(image_id))
        if image is None or image.runtime is not sku.runtime:
            detail = f"{image_id[:80]!r} is no image for a {sku.runtime}."
            faults.append(FieldError(f"/image_ids/{place}", "unknown", detail))
    if faults:
        raise ValidationFailed("The SKU needs another look.", fields=faults)


def sku_faults(sku: Sku) -> Iterator[FieldError]:
    """Return everything wrong with single fields of a SKU."""
    if not _SKU.fullmatch(sku.id):
        detail = "Use lower-case letters, digits and hyphens, such as h200-sxm."
        yield FieldError("/id", "invalid", detail)
    for name in ("display_name", "vendor", "gpu_model", "region"):
        if not 0 < len(getattr(sku, name).strip()) <= NAME_MAX:
            yield FieldError(f"/{name}", "length", f"Use 1 to {NAME_MAX} characters.")
    counts = sku.allowed_gpu_counts
    if not counts or len(set(counts)) < len(counts) or not set(counts) <= _COUNTS:
        detail = f"Give each size once, from 1 to {GPUS_MAX} GPUs."
        yield FieldError("/allowed_gpu_counts", "invalid", detail)
    yield from _mix_faults(sku.demand_mix)
    if sku.beside.has_nic and sku.runtime is Runtime.CONTAINER:
        detail = "Containers cannot be given a network port yet."
        yield FieldError("/nic_per_gpu", "not_yet", detail)
    if len(sku.summary) > SUMMARY_MAX:
        yield FieldError("/summary", "length", f"Use up to {SUMMARY_MAX} characters.")
    for name in ("gpu_memory_mib", "vcpus_per_gpu", "memory_mib_per_gpu"):
        if getattr(sku, name) < 1:
            yield FieldError(f"/{name}", "too_small", "Give at least 1.")


def _mix_faults(mix: tuple[tuple[int, int], ...]) -> Iterator[FieldError]:
    sizes = [size for size, _ in mix]
    if not mix or len(set(sizes)) < len(sizes) or not set(sizes) <= _COUNTS:
        detail = f"Give each size once with its weight, from 1 to {GPUS_MAX} GPUs."
        yield FieldError("/demand_mix", "invalid", detail)
    if any(not 1 <= weight <= WEIGHT_MAX for _, weight in mix):
        detail = f"Give each size a weight from 1 to {WEIGHT_MAX:,}."
        yield FieldError("/demand_mix", "out_of_range", detail)


_COUNTS: Final = frozenset(range(1, GPUS_MAX + 1))


def _price_faults(
    micros: int, currency: str, begins: datetime, now: datetime
) -> Iterator[FieldError]:
    if not 0 < micros <= PRICE_MAX_MICROS:
        detail = "Give a price above zero and up to 1000 per GPU and hour."
        yield FieldError("/price_micros_per_gpu_hour", "out_of_range", detail)
    if not _CURRENCY.fullmatch(currency):
        yield FieldError("/currency", "invalid", "Use a currency's three letters, such as USD.")
    if begins < now:
        detail = "A price begins now or later: what was charged is not changed."
        yield FieldError("/starts_at", "in_the_past", detail)
