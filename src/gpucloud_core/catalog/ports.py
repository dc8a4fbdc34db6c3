"""Rows of the catalog, and where images are read from."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from gpucloud_core.catalog.model import OsImage, Price, Sku
from gpucloud_core.catalog.references import FileReference, OciReference
from gpucloud_core.kernel.errors import DomainError, ErrorKind
from gpucloud_core.kernel.rows import Rows
from gpucloud_core.kernel.unit import Unit


class CatalogUnit(Unit, Protocol):
    @property
    def skus(self) -> Rows[Sku]: ...
    @property
    def prices(self) -> Rows[Price]: ...
    @property
    def os_images(self) -> Rows[OsImage]: ...


@dataclass(frozen=True, slots=True)
class Content:
    """What was read: its hash, how much it was, and what it looks like."""

    sha256: str
    size_bytes: int
    kind: str  # the media type of a manifest; "qcow2", or "" for a file that is none


Progress: TypeAlias = Callable[[int, int | None], Awaitable[None]]
"""Told, every other second at most, how many bytes were read, of how many if that is known."""


class ImageSource(Protocol):
    """Reads images from where they are kept. tests/contracts/image_source.py says the same in code.

    Only declared places are asked, by the scheme they were declared with; the address that was
    checked is the one that is dialled; nobody is followed elsewhere; and no more is read than an
    image of its kind may be.
    """

    async def manifest(self, reference: OciReference) -> Content:
        """Read a manifest by its digest.

        Raises:
            ImagePlaceRefused: the place is none that was declared, or lies where none may.
            ImageNotThere: the place answers, and does not have it or does not hand it out.
            ImageTooLarge: it is larger than any manifest.
            ImageUnreachable: nobody knows; ask again later.
        """
        ...

    async def file(self, reference: FileReference, progress: Progress) -> Content:
        """Read a disk image as a stream.

        Raises:
            ImagePlaceRefused, ImageNotThere, ImageTooLarge, ImageUnreachable: likewise.
        """
        ...


class ImagePlaceRefused(DomainError):
    """The image lies at a place that we do not read from."""

    code = "image_place_refused"
    kind = ErrorKind.CONFLICT
    next_step = "Declare the place in GPUCLOUD_IMAGE_SOURCES, or name the image at one that is."


class ImageNotThere(DomainError):
    """The place does not have the image, or does not hand it out."""

    code = "image_not_there"
    kind = ErrorKind.CONFLICT
    next_step = "Compare the reference with what the registry or the server has."


class ImageTooLarge(DomainError):
    """The image is larger than one of its kind may be."""

    code = "image_too_large"
    kind = ErrorKind.CONFLICT
    next_step = "Name a smaller one."


class ImageUnreachable(DomainError):
    """The place did not answer, so nothing is known of the image."""

    code = "image_unreachable"
    kind = ErrorKind.UNAVAILABLE
    next_step = "It is tried again by itself; if it goes on, look at the place and the way to it."
