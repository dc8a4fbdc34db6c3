"""What operators do with the catalog: SKUs, their prices over time, and the images they run.

A price never changes once it has begun: a new one begins later, and what runs keeps the rate it
was launched at. A SKU or an image is never deleted, as allocations of the past name it; it is
taken off sale.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Final

from gpucloud_core.access.acting import fact_by
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.catalog.model import OsImage, Price, Runtime, Shape, Sku
from gpucloud_core.catalog.ports import CatalogUnit
from gpucloud_core.kernel.errors import AlreadyExists, FieldError, NotFound, ValidationFailed
from gpucloud_core.kernel.ids import Ids, ImageId, SkuId
from gpucloud_core.kernel.time import rfc3339
from gpucloud_core.kernel.unit import Json, Scope, Transactions

GPUS_MAX: Final = 64
PRICE_MAX_MICROS: Final = 1_000_000_000
_NAME_MAX: Final = 120
_SKU: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?")
_USERNAME: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_SOURCES: Final[Mapping[Runtime, tuple[re.Pattern[str], str]]] = {
    Runtime.CONTAINER: (
        re.compile(r"[a-z0-9][a-z0-9.:/_-]{0,200}@sha256:[0-9a-f]{64}"),
        "Use an OCI image by its digest, such as registry.example/cuda@sha256:… .",
    ),
    Runtime.VM: (
        re.compile(r"https://[^\s#]{1,300}\.qcow2#sha256=[0-9a-f]{64}"),
        "Use the address of a qcow2 file with its hash: https://….qcow2#sha256=… .",
    ),
    Runtime.BARE_METAL: (
        re.compile(r"[a-z]{3,20}"),
        "Use the name of a MAAS series, such as noble.",
    ),
}
"""What names an image's content in each runtime, so that it can never be another one."""

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
    image_ids: tuple[str, ...] = ()
    summary: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkuChanges:
    """What of a SKU may change; None leaves it. What was launched keeps what it has."""

    display_name: str | None = None
    allowed_gpu_counts: tuple[int, ...] | None = None
    vcpus_per_gpu: int | None = None
    memory_mib_per_gpu: int | None = None
    image_ids: tuple[str, ...] | None = None
    summary: str | None = None
    active: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedSku:
    """A SKU with every price it ever had, oldest first."""

    sku: Sku
    prices: tuple[Price, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAllSkus:
    """Every SKU, on sale or not, with its prices."""

    transactions: Transactions[CatalogUnit]

    async def __call__(self, *, actor: Actor) -> tuple[PricedSku, ...]:
        require(actor, Action.CATALOG_MANAGE)
        async with self.transactions.begin(Scope.platform()) as unit:
            skus = await unit.skus.find()
            prices = await unit.prices.find()
        ordered = sorted(prices, key=lambda price: price.starts_at)
        return tuple(
            PricedSku(sku=sku, prices=tuple(p for p in ordered if p.sku_id == sku.id))
            for sku in skus
        )


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
            wanted = {field.name: getattr(changes, field.name) for field in fields(changes)}
            said = {name: value for name, value in wanted.items() if value is not None}
            changed = replace(known, **said)
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
class ImageAsked:
    """An image; ``digest`` names its content, in the form its runtime wants."""

    name: str
    version: str
    runtime: Runtime
    username: str
    digest: str
    summary: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAllImages:
    """Every image, offered or not."""

    transactions: Transactions[CatalogUnit]

    async def __call__(self, *, actor: Actor) -> tuple[OsImage, ...]:
        require(actor, Action.CATALOG_MANAGE)
        async with self.transactions.begin(Scope.platform()) as unit:
            return await unit.os_images.find()


@dataclass(frozen=True, slots=True, kw_only=True)
class AddImage:
    """Make an image known; SKUs offer it by naming it."""

    transactions: Transactions[CatalogUnit]
    ids: Ids

    async def __call__(self, *, actor: Actor, asked: ImageAsked) -> OsImage:
        """Add it.

        Raises:
            Forbidden: the actor is no administrator of the platform.
            ValidationFailed: single fields make no sense for its runtime.
        """
        require(actor, Action.CATALOG_MANAGE)
        if faults := list(image_faults(asked)):
            raise ValidationFailed("The image needs another look.", fields=faults)
        async with self.transactions.begin(Scope.platform()) as unit:
            made = OsImage(
                id=ImageId(self.ids.new("img")),
                name=asked.name.strip(),
                version=asked.version.strip(),
                runtime=asked.runtime,
                username=asked.username,
                summary=asked.summary,
                digest=asked.digest,
                created_at=await unit.now(),
            )
            await unit.os_images.add(made)
            await unit.audit(
                fact_by(
                    actor,
                    action="image.add",
                    target=made.id,
                    changes={"digest": [None, made.digest]},
                )
            )
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferImage:
    """Offer an image, or offer it no longer; what runs it goes on."""

    transactions: Transactions[CatalogUnit]

    async def __call__(self, *, actor: Actor, image_id: ImageId, active: bool) -> OsImage:
        """Change it.

        Raises:
            Forbidden: the actor is no administrator of the platform.
            NotFound: there is no such image.
        """
        require(actor, Action.CATALOG_MANAGE)
        async with self.transactions.begin(Scope.platform()) as unit:
            known = await unit.os_images.lock(image_id)
            if known is None:
                raise NotFound("There is no image with this id.")
            changed = replace(known, active=active)
            await unit.os_images.put(changed)
            told: dict[str, Json] = {"active": [known.active, active]}
            await unit.audit(fact_by(actor, action="image.offer", target=image_id, changes=told))
        return changed


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
        if not 0 < len(getattr(sku, name).strip()) <= _NAME_MAX:
            yield FieldError(f"/{name}", "length", f"Use 1 to {_NAME_MAX} characters.")
    counts = sku.allowed_gpu_counts
    if not counts or len(set(counts)) < len(counts) or not set(counts) <= _COUNTS:
        detail = f"Give each size once, from 1 to {GPUS_MAX} GPUs."
        yield FieldError("/allowed_gpu_counts", "invalid", detail)
    for name in ("gpu_memory_mib", "vcpus_per_gpu", "memory_mib_per_gpu"):
        if getattr(sku, name) < 1:
            yield FieldError(f"/{name}", "too_small", "Give at least 1.")


_COUNTS: Final = frozenset(range(1, GPUS_MAX + 1))


def image_faults(asked: ImageAsked) -> Iterator[FieldError]:
    """Return everything wrong with single fields of an image."""
    for name in ("name", "version"):
        if not 0 < len(getattr(asked, name).strip()) <= _NAME_MAX:
            yield FieldError(f"/{name}", "length", f"Use 1 to {_NAME_MAX} characters.")
    if not _USERNAME.fullmatch(asked.username):
        yield FieldError("/username", "invalid", "Use an account's name, such as ubuntu.")
    pattern, detail = _SOURCES[asked.runtime]
    if not pattern.fullmatch(asked.digest):
        yield FieldError("/digest", "invalid", detail)


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
