"""Where an image is kept and what it must be, read from the digest that names it. Pure."""

from dataclasses import dataclass
from typing import Final, TypeAlias

from gpucloud_core.catalog.model import OsImage, Runtime

_HUB: Final = "registry-1.docker.io"
"""Where references without a registry are kept. Source: distribution's reference grammar."""


@dataclass(frozen=True, slots=True)
class OciReference:
    """A manifest in a registry, by its digest."""

    registry: str  # host, with a port if there is one
    repository: str
    sha256: str


@dataclass(frozen=True, slots=True)
class FileReference:
    """A disk image at an address, by its hash."""

    url: str
    sha256: str


@dataclass(frozen=True, slots=True)
class SeriesReference:
    """A series that MAAS knows; only MAAS can say what is in it."""

    name: str


Reference: TypeAlias = OciReference | FileReference | SeriesReference


def reference_of(image: OsImage) -> Reference | None:
    """Return what an image's digest names; None for one from before images had to be named so."""
    match image.runtime:
        case Runtime.CONTAINER:
            return _oci(image.digest)
        case Runtime.VM:
            url, _, sha256 = image.digest.partition("#sha256=")
            return FileReference(url, sha256) if sha256 else None
        case Runtime.BARE_METAL:
            return SeriesReference(image.digest) if image.digest else None


def _oci(text: str) -> OciReference | None:
    name, _, sha256 = text.partition("@sha256:")
    if not name or not sha256:
        return None
    registry, slash, repository = name.partition("/")
    if slash and ("." in registry or ":" in registry or registry == "localhost"):
        return OciReference(registry, _untagged(repository), sha256)
    whole = _untagged(name)
    return OciReference(_HUB, whole if "/" in whole else f"library/{whole}", sha256)


def _untagged(repository: str) -> str:
    """Return the name without a tag: the digest says more than a tag can."""
    return repository.partition(":")[0]
