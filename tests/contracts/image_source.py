"""What every source of images promises: what lies there, read whole, from declared places."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import pytest

from gpucloud_core.catalog.ports import ImageNotThere, ImagePlaceRefused, ImageSource
from gpucloud_core.catalog.references import FileReference, OciReference

MANIFEST: Final = b'{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}'
DISK: Final = b"QFI\xfb" + bytes(range(256)) * 4096
REGISTRY: Final = "registry.example"
SERVER: Final = "images.example"


def hashed(content: bytes) -> str:
    return sha256(content).hexdigest()


def named(content: bytes, registry: str = REGISTRY) -> OciReference:
    return OciReference(registry, "cuda/base", hashed(content))


def at(path: str, content: bytes, server: str = SERVER) -> FileReference:
    return FileReference(f"https://{server}/{path}", hashed(content))


@dataclass
class Told:
    """What a progress was told."""

    said: list[tuple[int, int | None]] = field(default_factory=list)

    async def __call__(self, read: int, total: int | None) -> None:
        self.said.append((read, total))


class ImageSourceContract(ABC):
    @pytest.fixture
    @abstractmethod
    def source(self) -> ImageSource:
        """Return one that may read from both places; each has what its name says."""

    async def test_reads_a_manifest_and_says_what_it_is(self, source: ImageSource) -> None:
        found = await source.manifest(named(MANIFEST))

        assert (found.sha256, found.size_bytes) == (hashed(MANIFEST), len(MANIFEST))
        assert found.kind == "application/vnd.oci.image.manifest.v1+json"

    async def test_says_what_really_lies_there(self, source: ImageSource) -> None:
        """Comparing is not its to do."""
        assert (await source.manifest(named(b"other"))).sha256 == hashed(MANIFEST)

    async def test_reads_a_disk_image_whole(self, source: ImageSource) -> None:
        found = await source.file(at("disk.qcow2", DISK), Told())

        assert (found.sha256, found.size_bytes) == (hashed(DISK), len(DISK))
        assert found.kind == "qcow2"

    async def test_knows_a_disk_image_by_its_first_bytes(self, source: ImageSource) -> None:
        assert (await source.file(at("page.qcow2", b"<html>"), Told())).kind == ""

    async def test_says_that_something_is_not_there(self, source: ImageSource) -> None:
        with pytest.raises(ImageNotThere):
            await source.manifest(named(b"nothing"))
        with pytest.raises(ImageNotThere):
            await source.file(at("nothing.qcow2", b""), Told())

    async def test_asks_nobody_who_was_not_declared(self, source: ImageSource) -> None:
        with pytest.raises(ImagePlaceRefused):
            await source.manifest(named(MANIFEST, "elsewhere.example"))
        with pytest.raises(ImagePlaceRefused):
            await source.file(at("disk.qcow2", DISK, "elsewhere.example"), Told())
