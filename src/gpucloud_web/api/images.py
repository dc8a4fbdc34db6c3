"""Operators on the images that can be booted."""

from datetime import datetime
from typing import Annotated

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import Controller, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from gpucloud_core.access.model import Actor
from gpucloud_core.catalog.images import AddImage, ChangeImage, ImageAsked, ImageChanges
from gpucloud_core.catalog.model import OsImage, Runtime
from gpucloud_core.catalog.queries import ListAllImages
from gpucloud_core.fleet.sold import ImageInUse, ReadImageInUse
from gpucloud_core.fleet.verify_image import VerifyImage
from gpucloud_core.kernel.ids import ImageId, parse_id
from gpucloud_web.api.lists import Cursor, Limit, Listing, Sort, list_query, listing

Search = Annotated[str, QueryParameter(description="Text in the id or the name.")]


class ImageToAdd(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An image; ``digest`` names its content, so that it can never be another one.

    For containers an OCI reference by digest, for virtual machines a qcow2 address with its
    SHA-256, for bare metal the name of a MAAS series.
    """

    name: str
    version: str
    runtime: Runtime
    username: str
    digest: str
    summary: str = ""

    def asked(self) -> ImageAsked:
        return ImageAsked(**msgspec.structs.asdict(self))


class ImageChangesBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What of an image changes; left out, it stays. Its content is not among it."""

    name: str | None = None
    version: str | None = None
    summary: str | None = None
    active: bool | None = None


class ImageSeen(msgspec.Struct, kw_only=True):
    id: str
    name: str
    version: str
    runtime: str
    username: str
    digest: str
    summary: str
    active: bool
    trust: str
    trust_reason: str
    trust_at: datetime | None
    size_bytes: int | None
    created_at: datetime

    @classmethod
    def of(cls, image: OsImage) -> "ImageSeen":
        return cls(
            id=image.id,
            name=image.name,
            version=image.version,
            runtime=image.runtime,
            username=image.username,
            digest=image.digest,
            summary=image.summary,
            active=image.active,
            trust=image.trust,
            trust_reason=image.trust_reason,
            trust_at=image.trust_at,
            size_bytes=image.size_bytes,
            created_at=image.created_at,
        )


class ImageInUseBody(ImageSeen, kw_only=True):
    """An image with what stands on it; ``only_image_of`` are SKUs that offer no other."""

    skus: list[str]
    only_image_of: list[str]
    allocations: int

    @classmethod
    def seen(cls, used: ImageInUse) -> "ImageInUseBody":
        return cls(
            **msgspec.structs.asdict(ImageSeen.of(used.image)),
            skus=[sku.id for sku in used.skus],
            only_image_of=[sku.id for sku in used.only_here],
            allocations=used.allocations,
        )


class VerificationBody(msgspec.Struct):
    """The task that reads and compares it."""

    task_id: str


class AdminImages(Controller):
    path = "/admin/os-images"
    tags = ["admin"]

    @get(operation_id="listAllImages")
    async def index(
        self,
        actor: NamedDependency[Actor],
        list_images: FromDishka[ListAllImages],
        search: Search = "",
        sort: Sort = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Listing[ImageSeen]:
        """List every image, offered or not."""
        query = list_query(limit=limit, cursor=cursor, sort=sort or "id", search=search)
        return listing(await list_images(actor=actor, query=query), ImageSeen.of)

    @get("/{image_id:str}", operation_id="getImage")
    async def show(
        self,
        image_id: FromPath[str],
        actor: NamedDependency[Actor],
        read_image: FromDishka[ReadImageInUse],
    ) -> ImageInUseBody:
        """Read an image with the SKUs that name it and how many allocations stand on it."""
        found = ImageId(parse_id("img", image_id))
        return ImageInUseBody.seen(await read_image(actor=actor, image_id=found))

    @post(operation_id="addImage", status_code=201)
    async def add(
        self,
        data: JSONBody[ImageToAdd],
        actor: NamedDependency[Actor],
        add_image: FromDishka[AddImage],
    ) -> ImageSeen:
        """Make an image known; SKUs offer it by naming it."""
        return ImageSeen.of(await add_image(actor=actor, asked=data.asked()))

    @patch("/{image_id:str}", operation_id="changeImage")
    async def change(
        self,
        image_id: FromPath[str],
        data: JSONBody[ImageChangesBody],
        actor: NamedDependency[Actor],
        change_image: FromDishka[ChangeImage],
    ) -> ImageSeen:
        """Call an image otherwise, offer it, or offer it no longer; what runs it goes on."""
        found = ImageId(parse_id("img", image_id))
        changes = ImageChanges(**msgspec.structs.asdict(data))
        return ImageSeen.of(await change_image(actor=actor, image_id=found, changes=changes))

    @post("/{image_id:str}/verify", operation_id="verifyImage", status_code=202)
    async def verify(
        self,
        image_id: FromPath[str],
        actor: NamedDependency[Actor],
        verify_image: FromDishka[VerifyImage],
    ) -> VerificationBody:
        """Read an image from where it is kept, and compare it with what it is named by."""
        found = ImageId(parse_id("img", image_id))
        return VerificationBody(await verify_image(actor=actor, image_id=found))
