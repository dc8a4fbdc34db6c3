"""View rows of the images as operators see them: the list, one, and the forms about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from gpucloud_core.catalog.model import ImageTrust, OsImage, Runtime
from gpucloud_core.catalog.references import reference_of
from gpucloud_core.fleet.sold import ImageInUse
from gpucloud_core.fleet.verify_image import unverifiable
from gpucloud_web import formats
from gpucloud_web.components import Choice, Consequence, Fact, FieldFault, MenuEntry
from gpucloud_web.formats import Moment
from gpucloud_web.pages.addresses import ListState
from gpucloud_web.pages.catalog_acts import CatalogAct
from gpucloud_web.pages.sku_rows import RUNTIMES
from gpucloud_web.pages.visit import Form, one
from gpucloud_web.tables import Cell, Column, Empty, FilterField, ListSpec, Row

PATH: Final = "/admin/os-images"
_KIB: Final = 1 << 10
_MIB: Final = 1 << 20
IMAGES: Final = ListSpec(
    name="os-images",
    noun="images",
    views={"all": "All", "offered": "Offered", "withheld": "Not offered"},
    sorts={"name": "Name, A to Z", "-name": "Name, Z to A", "-created_at": "Newest first"},
    columns=(
        Column(key="name", title="Image", sort="name"),
        Column(key="status", title="Status"),
        Column(key="trust", title="Verification"),
        Column(key="runtime", title="Runtime"),
        Column(key="digest", title="Named by"),
        Column(key="username", title="Signs in as", optional=True),
        Column(key="created", title="Added", sort="created_at", number=True),
    ),
    search="Name or id",
    filters=(
        FilterField(
            name="runtime",
            title="Runtime",
            options={runtime.value: words for runtime, words in RUNTIMES.items()},
        ),
        FilterField(
            name="trust",
            title="Verification",
            options={
                ImageTrust.UNVERIFIED: "Unverified",
                ImageTrust.VERIFIED: "Verified",
                ImageTrust.FAILED: "Verification failed",
            },
        ),
    ),
    live="fleet",
)
NO_IMAGES: Final = Empty(
    heading="No images yet",
    sentence="An image is what runs on a slice when it starts, or on a whole node. It is named by "
    "its content, so that it can never be another one, and offered by the SKUs that name it.",
    action="Add image",
    href=f"{PATH}/new",
)
NAMED_BY: Final[Mapping[Runtime, str]] = {
    Runtime.CONTAINER: "registry.example/cuda@sha256:…",
    Runtime.VM: "https://images.example/ubuntu.qcow2#sha256=…",
    Runtime.BARE_METAL: "noble",
}
"""How a digest looks in each runtime, for the form."""


def where_of(state: ListState) -> dict[str, tuple[object, ...]]:
    """Return what a view of the list is narrowed to."""
    where: dict[str, tuple[object, ...]] = {}
    if state.view != "all":
        where["active"] = (state.view == "offered",)
    for name in ("runtime", "trust"):
        if value := state.filters.get(name):
            where[name] = (value,)
    return where


def shortened(digest: str) -> str:
    """Return a digest that fits a cell: where it is kept, and how its hash begins."""
    place, mark, value = digest.rpartition("sha256")
    return f"{place}{mark}{value[:13]}…" if mark else digest


def image_row(image: OsImage, now: datetime, zone: tzinfo) -> Row:
    """Return a line of the list."""
    href = f"{PATH}/{image.id}"
    name = f"{image.name} {image.version}"
    return Row(
        id=image.id,
        label=name,
        menu=(
            MenuEntry(text="Open", icon="arrow-right", href=href, operation="getImage"),
            MenuEntry(
                text="Edit", icon="adjustments", href=f"{href}/edit", operation="changeImage"
            ),
        ),
        cells={
            "name": Cell(text=image.name, href=href, second=image.version),
            "status": Cell(kind="image", state=status_of(image)),
            "trust": Cell(
                kind="artifact_trust",
                state=image.trust,
                second=image.trust_reason if image.trust is ImageTrust.VERIFYING else "",
                second_when=formats.moment(image.trust_at, now, zone)
                if image.trust_at and image.trust is not ImageTrust.VERIFYING
                else None,
            ),
            "runtime": Cell(text=RUNTIMES[image.runtime]),
            "digest": Cell(text=shortened(image.digest), mono=True)
            if image.digest
            else Cell(unknown="it is named by no digest"),
            "username": Cell(text=image.username, mono=True),
            "created": Cell(when=formats.moment(image.created_at, now, zone)),
        },
    )


def status_of(image: OsImage) -> str:
    return "offered" if image.active else "withheld"


@dataclass(frozen=True, slots=True, kw_only=True)
class SkuLine:
    name: str
    href: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePage:
    """All that ``images/detail.html`` may know."""

    id: str
    name: str
    href: str
    status: str
    about: str
    active: bool
    trust: str
    trust_words: str
    trust_at: Moment | None
    why_not: str  # why it cannot be verified here
    verifying: bool
    digest: str
    facts: tuple[Fact, ...]
    skus: tuple[SkuLine, ...]
    warning: str
    key: str

    @classmethod
    def of(cls, used: ImageInUse, zone: tzinfo, *, key: str) -> "ImagePage":
        image, now = used.image, used.as_of
        verifying = image.trust is ImageTrust.VERIFYING
        return cls(
            id=image.id,
            name=f"{image.name} {image.version}",
            href=f"{PATH}/{image.id}",
            status=status_of(image),
            about=RUNTIMES[image.runtime],
            active=image.active,
            trust=image.trust,
            trust_words=_trust_words(image),
            trust_at=formats.moment(image.trust_at, now, zone) if image.trust_at else None,
            why_not=unverifiable(reference_of(image)),
            verifying=verifying,
            digest=image.digest,
            facts=(
                Fact(label="Signs in as", value=image.username),
                Fact(label="Size", value=_size(image.size_bytes)),
                Fact(label="Shown as", value=image.summary or "no words"),
                Fact(label="Allocations on it", value=f"{used.allocations:,}"),
                Fact(label="Added", value=formats.short_time(image.created_at, now, zone)),
            ),
            skus=tuple(
                SkuLine(
                    name=sku.display_name,
                    href=f"/admin/skus/{sku.id}",
                    state="on_sale" if sku.active else "off_sale",
                )
                for sku in used.skus
            ),
            warning=_unoffered(used),
            key=key,
        )


def _unoffered(used: ImageInUse) -> str:
    """Return what it means that an image which SKUs depend on is not offered, or nothing."""
    if used.image.active or not used.only_here:
        return ""
    names = ", ".join(sku.display_name for sku in used.only_here)
    return f"Nothing can be launched on {names}: no other image is offered there."


def _trust_words(image: OsImage) -> str:
    match image.trust:
        case ImageTrust.VERIFIED:
            return "What is kept there is what the image is named by."
        case ImageTrust.VERIFYING:
            return f"Under way: {image.trust_reason}."
        case ImageTrust.FAILED:
            return image.trust_reason
        case ImageTrust.UNVERIFIED:
            return image.trust_reason or "Nobody has compared it with what it is named by yet."


def _size(size: int | None) -> str:
    if size is None:
        return "not read yet"
    if size >= _MIB << 9:
        return formats.gibibytes(round(size / _MIB))
    return f"{size / _KIB:,.1f} KiB" if size >= _KIB else formats.counted(size, "byte")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageForm:
    """All that ``images/form.html`` may know. ``fixed`` says that the image is there already."""

    title: str
    sub: str
    action: str
    back: str
    verb: str
    operation: str
    fixed: bool
    name: str
    values: Mapping[str, str]
    runtimes: tuple[Choice, ...]
    examples: tuple[Fact, ...]
    key: str
    errors: tuple[FieldFault, ...]
    faults: Mapping[str, str]

    @classmethod
    def of(
        cls,
        *,
        key: str,
        image: OsImage | None = None,
        form: Form | None = None,
        errors: Sequence[FieldFault] = (),
    ) -> "ImageForm":
        href = f"{PATH}/{image.id}" if image else PATH
        names = ("name", "version", "username", "digest", "summary")
        runtime = one(form, "runtime") if form else Runtime.CONTAINER
        return cls(
            title=f"Edit {image.name} {image.version}" if image else "Add image",
            sub="What it is named by never changes: other content is another image."
            if image
            else "It is named by its content, and offered by the SKUs that name it.",
            action=f"{href}/edit" if image else f"{PATH}/new",
            back=href,
            verb="Save changes" if image else "Add image",
            operation="changeImage" if image else "addImage",
            fixed=image is not None,
            name=f"{image.name} {image.version}" if image else "",
            values={
                name: one(form, name) if form else (getattr(image, name) if image else "")
                for name in names
            },
            runtimes=tuple(
                Choice(value=each, text=words, selected=each == runtime)
                for each, words in RUNTIMES.items()
            ),
            examples=tuple(
                Fact(label=words, value=NAMED_BY[each]) for each, words in RUNTIMES.items()
            ),
            key=key,
            errors=tuple(errors),
            faults={fault.field: fault.text for fault in errors if fault.field},
        )


def offer_act(used: ImageInUse, act: str, *, key: str, error: str = "") -> CatalogAct:
    """Return what offering an image no longer means, or offering it again."""
    image, off = used.image, act == "withhold"
    name = f"{image.name} {image.version}"
    return CatalogAct(
        title=f"Offer {name} no longer?" if off else f"Offer {name} again?",
        name=name,
        list_title="OS Images",
        list_href=PATH,
        back=f"{PATH}/{image.id}",
        action=f"{PATH}/{image.id}/{act}",
        verb="Offer no longer" if off else "Offer again",
        points=_missed(used) if off else _offered(used),
        danger=off,
        operation="changeImage",
        key=key,
        error=error,
    )


def _missed(used: ImageInUse) -> tuple[Consequence, ...]:
    only = [sku.display_name for sku in used.only_here]
    points = [
        Consequence(icon="ban", text="Nobody can choose it for a new launch."),
        Consequence(
            icon="server-2",
            text=_staying(used.allocations),
        ),
    ]
    if only:
        offers = "offers" if len(only) == 1 else "offer"
        text = f"{', '.join(only)} {offers} no other image: nothing more can be launched there."
        points.append(Consequence(icon="alert-triangle", text=text))
    back = Consequence(icon="arrow-back-up", text="It can be offered again at any time.")
    return (*points, back)


def _staying(allocations: int) -> str:
    if allocations == 1:
        return "1 allocation stays on it as it is."
    some = f"{allocations:,} allocations stay on it as they are."
    return some if allocations else "Nothing runs on it now."


def _offered(used: ImageInUse) -> tuple[Consequence, ...]:
    names = ", ".join(sku.display_name for sku in used.skus) or "no SKU yet"
    trusted = used.image.trust is ImageTrust.VERIFIED
    return (
        Consequence(icon="tag", text=f"It can be chosen on {names}."),
        Consequence(
            icon="shield-check" if trusted else "alert-triangle",
            text="It was verified." if trusted else "It is not verified.",
        ),
    )
