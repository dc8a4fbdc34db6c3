"""Verifying an image: read it from where it is kept, and compare it with what it is named by.

It is a task that is followed like any other. While it reads, the image itself says how far it is;
in the end the image carries what was found and when.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from gpucloud_core.access.acting import fact_by
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.catalog.model import ImageTrust, OsImage
from gpucloud_core.catalog.ports import Content, ImageSource, ImageUnreachable, Progress
from gpucloud_core.catalog.references import (
    FileReference,
    OciReference,
    Reference,
    SeriesReference,
    reference_of,
)
from gpucloud_core.fleet.actions import LeavesNothing
from gpucloud_core.fleet.ports import FleetUnit
from gpucloud_core.fleet.tasks import VERIFY_IMAGE, queue_about
from gpucloud_core.kernel.errors import Conflict, DomainError, ErrorKind, NotFound
from gpucloud_core.kernel.ids import Ids, ImageId, TaskId
from gpucloud_core.kernel.unit import AuditFact, Json, Scope, Transactions
from gpucloud_core.work.model import Step, Task, TaskStatus
from gpucloud_core.work.plan import Finish, Saga
from gpucloud_core.work.run import StepTimedOut

_GIB: Final = 1 << 30
_UNKNOWN: Final = frozenset({ImageUnreachable.code, StepTimedOut.code})


class ImageDiffers(DomainError):
    """What is kept there is not what the image is named by."""

    code = "image_differs"
    kind = ErrorKind.CONFLICT
    next_step = "Do not offer it. Find out who changed it, and name the right content."


def unverifiable(reference: Reference | None) -> str:
    """Return why an image cannot be verified here, in words, or nothing."""
    match reference:
        case None:
            return "It is named by no digest, so there is nothing to compare it with."
        case SeriesReference(name):
            return f"What {name} is, MAAS says; no MAAS is connected."
        case OciReference() | FileReference():
            return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyImage:
    """Queue the verification of an image."""

    transactions: Transactions[FleetUnit]
    ids: Ids

    async def __call__(self, *, actor: Actor, image_id: ImageId) -> TaskId:
        """Return the task to follow; one under way is joined.

        Raises:
            Forbidden: the actor is no administrator of the platform.
            NotFound: there is no such image.
            Conflict: nothing outside can be compared with what it is named by.
        """
        require(actor, Action.CATALOG_MANAGE)
        async with self.transactions.begin(Scope.platform()) as unit:
            image = await unit.os_images.lock(image_id)
            if image is None:
                raise NotFound("There is no image with this id.")
            if why := unverifiable(reference_of(image)):
                raise Conflict(why)
            task = await queue_about(unit, self.ids, actor, image.id, VERIFY_IMAGE)
            if image.trust is not ImageTrust.VERIFYING:
                await unit.os_images.put(
                    replace(image, trust=ImageTrust.VERIFYING, trust_reason="waits for a worker")
                )
            await unit.audit(fact_by(actor, action="image.verify", target=image_id))
        return task.id


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadImageOutside(LeavesNothing):
    """What the steps of a verification do."""

    transactions: Transactions[FleetUnit]
    source: ImageSource
    saga: Saga = VERIFY_IMAGE

    async def do(self, task: Task, step: Step) -> Mapping[str, Json]:
        image = await self._image(task)
        if step.key == "read":
            content = await self._read(image)
            return {
                "sha256": content.sha256,
                "size_bytes": content.size_bytes,
                "kind": content.kind,
            }
        read = next(one for one in task.steps if one.key == "read").result
        if why := differs(image, read):
            raise ImageDiffers(why)
        return {"outcome": "verified"}

    async def finished(self, unit: AllocationUnit, task: Task, finish: Finish) -> None:
        """Write what was found on the image itself, with its time."""
        image = await unit.os_images.lock(task.subject)
        if image is None:
            return
        read = next(one for one in task.steps if one.key == "read").result
        size = read.get("size_bytes")
        trust = trust_after(finish)
        changed = replace(
            image,
            trust=trust,
            trust_reason="" if trust is ImageTrust.VERIFIED else finish.detail,
            trust_at=await unit.now(),
            size_bytes=size if isinstance(size, int) else image.size_bytes,
        )
        await unit.os_images.put(changed)
        await unit.audit(
            AuditFact(
                action="image.verified",
                target=image.id,
                result="ok" if trust is ImageTrust.VERIFIED else trust.value,
                via="worker",
                changes={"trust": [None, trust.value], "reason": [None, changed.trust_reason]},
            )
        )

    async def _image(self, task: Task) -> OsImage:
        async with self.transactions.begin(Scope.platform()) as unit:
            image = await unit.os_images.get(task.subject)
        if image is None:
            raise NotFound("The image is gone.")
        return image

    async def _read(self, image: OsImage) -> Content:
        reference = reference_of(image)
        match reference:
            case OciReference():
                return await self.source.manifest(reference)
            case FileReference():
                return await self.source.file(reference, self._teller(image.id))
            case _:
                raise Conflict(unverifiable(reference))

    def _teller(self, image_id: ImageId) -> Progress:
        async def tell(read: int, total: int | None) -> None:
            async with self.transactions.begin(Scope.platform()) as unit:
                image = await unit.os_images.lock(image_id)
                if image is not None and image.trust is ImageTrust.VERIFYING:
                    await unit.os_images.put(replace(image, trust_reason=far(read, total)))

        return tell


def far(read: int, total: int | None) -> str:
    """Return how far the reading is, such as ``1.2 of 4.0 GiB read (30 %)``."""
    if not total:
        return f"{read / _GIB:.1f} GiB read"
    part = min(100, 100 * read // total)
    return f"{read / _GIB:.1f} of {total / _GIB:.1f} GiB read ({part} %)"


def differs(image: OsImage, read: Mapping[str, Json]) -> str:
    """Return how what was read differs from what ``image`` is named by, or nothing. Pure."""
    reference = reference_of(image)
    expected = (
        "" if reference is None or isinstance(reference, SeriesReference) else reference.sha256
    )
    found = str(read.get("sha256", ""))
    if found != expected:
        return (
            f"It is named by sha256 {expected[:12]}…, and what is kept there has {found[:12]}…: "
            "another content."
        )
    if isinstance(reference, FileReference) and read.get("kind") != "qcow2":
        return "It has the hash it is named by, and is no qcow2 file."
    return ""


def trust_after(finish: Finish) -> ImageTrust:
    """Return what a verification's end says: nobody could look is not the same as it is wrong."""
    if finish.status is TaskStatus.SUCCEEDED:
        return ImageTrust.VERIFIED
    return ImageTrust.UNVERIFIED if finish.error in _UNKNOWN else ImageTrust.FAILED
