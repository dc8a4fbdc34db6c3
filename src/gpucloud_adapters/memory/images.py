"""Images in memory: what places have, said beforehand."""

from dataclasses import dataclass, field
from hashlib import sha256

from gpucloud_core.catalog.ports import Content, ImageNotThere, ImagePlaceRefused, Progress
from gpucloud_core.catalog.references import FileReference, OciReference
from gpucloud_core.kernel.errors import DomainError

_QCOW2 = b"QFI\xfb"


@dataclass(slots=True)
class MemoryImageSource:
    """An ``ImageSource`` whose places are what was put into it.

    Attributes:
        places: hosts that are declared.
        kept: what lies there, by address: ``registry/repository@sha256:…`` or a URL.
        trouble: raised by every reading while it is set.
    """

    places: set[str] = field(default_factory=set)
    kept: dict[str, bytes] = field(default_factory=dict)
    trouble: DomainError | None = None

    async def manifest(self, reference: OciReference) -> Content:
        name = f"{reference.registry}/{reference.repository}@sha256:{reference.sha256}"
        content = self._read(reference.registry, name)
        kind = "application/vnd.oci.image.manifest.v1+json"
        return Content(sha256(content).hexdigest(), len(content), kind)

    async def file(self, reference: FileReference, progress: Progress) -> Content:
        host = reference.url.partition("://")[2].partition("/")[0]
        content = self._read(host, reference.url)
        await progress(len(content) // 2, len(content))
        kind = "qcow2" if content.startswith(_QCOW2) else ""
        return Content(sha256(content).hexdigest(), len(content), kind)

    def _read(self, place: str, name: str) -> bytes:
        if self.trouble is not None:
            raise self.trouble
        if place not in self.places:
            raise ImagePlaceRefused(f"{place} is none of the places that images are read from.")
        if name not in self.kept:
            raise ImageNotThere(f"{place} does not have it.")
        return self.kept[name]
