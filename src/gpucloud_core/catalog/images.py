"""What operators do with images: what may run on a slice, named so that it is never another thing.

An image is never deleted, as allocations of the past name it; it is offered no longer. What names
its content never changes: other content is another image.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from gpucloud_core.access.acting import fact_by
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.catalog.model import NAME_MAX, SUMMARY_MAX, OsImage, Runtime
from gpucloud_core.catalog.ports import CatalogUnit
from gpucloud_core.kernel.errors import FieldError, NotFound, ValidationFailed
from gpucloud_core.kernel.ids import Ids, ImageId
from gpucloud_core.kernel.unit import Json, Scope, Transactions

_USERNAME: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
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
class ImageChanges:
    """What of an image may change; None leaves it. Its content is not among it."""

    name: str | None = None
    version: str | None = None
    summary: str | None = None
    active: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeImage:
    """Call an image otherwise, offer it, or offer it no longer; what runs it goes on."""

    transactions: Transactions[CatalogUnit]

    async def __call__(self, *, actor: Actor, image_id: ImageId, changes: ImageChanges) -> OsImage:
        """Change it.

        Raises:
            Forbidden: the actor is no administrator of the platform.
            NotFound: there is no such image.
            ValidationFailed: a name is empty or too long.
        """
        require(actor, Action.CATALOG_MANAGE)
        wanted = {field.name: getattr(changes, field.name) for field in fields(changes)}
        said: dict[str, Any] = {
            name: value.strip() if isinstance(value, str) else value
            for name, value in wanted.items()
            if value is not None
        }
        async with self.transactions.begin(Scope.platform()) as unit:
            known = await unit.os_images.lock(image_id)
            if known is None:
                raise NotFound("There is no image with this id.")
            changed = replace(known, **said)
            if faults := list(_word_faults(changed)):
                raise ValidationFailed("The image needs another look.", fields=faults)
            await unit.os_images.put(changed)
            told: dict[str, Json] = {
                name: [getattr(known, name), value] for name, value in said.items()
            }
            await unit.audit(fact_by(actor, action="image.change", target=image_id, changes=told))
        return changed


def image_faults(asked: ImageAsked) -> Iterator[FieldError]:
    """Return everything wrong with single fields of an image."""
    yield from _word_faults(asked)
    if not _USERNAME.fullmatch(asked.username):
        yield FieldError("/username", "invalid", "Use an account's name, such as ubuntu.")
    pattern, detail = _SOURCES[asked.runtime]
    if not pattern.fullmatch(asked.digest):
        yield FieldError("/digest", "invalid", detail)


def _word_faults(image: ImageAsked | OsImage) -> Iterator[FieldError]:
    for name in ("name", "version"):
        if not 0 < len(getattr(image, name).strip()) <= NAME_MAX:
            yield FieldError(f"/{name}", "length", f"Use 1 to {NAME_MAX} characters.")
    if len(image.summary) > SUMMARY_MAX:
        yield FieldError("/summary", "length", f"Use up to {SUMMARY_MAX} characters.")
