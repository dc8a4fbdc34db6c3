"""SKUs, prices and images as rows."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from gpucloud_core.kernel.ids import ImageId, SkuId

NAME_MAX: Final = 120
SUMMARY_MAX: Final = 400
USUAL_MIX: Final = ((1, 60), (2, 15), (4, 15), (8, 10))
"""How often launches of each size are asked for, beside each other, as long as nobody says."""


class Shape(StrEnum):
    """How capacity is realised."""

    BARE_METAL = "bare_metal"
    GPU_SLICE = "gpu_slice"


class Runtime(StrEnum):
    CONTAINER = "container"
    VM = "vm"
    BARE_METAL = "bare_metal"


class Beside(StrEnum):
    """What comes with each GPU, besides CPUs and memory."""

    NOTHING = "nothing"
    DISK = "disk"  # a local NVMe disk, mounted
    NIC = "nic"  # a network port, or a virtual function of one
    BOTH = "disk_and_nic"

    __hash__ = str.__hash__  # as equal as its text, and it is in a key of every decision

    @property
    def has_disk(self) -> bool:
        return self is Beside.DISK or self is Beside.BOTH

    @property
    def has_nic(self) -> bool:
        return self is Beside.NIC or self is Beside.BOTH

    @classmethod
    def of(cls, *, disk: bool, nic: bool) -> "Beside":
        """Return what these two come to."""
        if disk:
            return cls.BOTH if nic else cls.DISK
        return cls.NIC if nic else cls.NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Sku:
    """One thing that can be launched. The id is its public name, such as ``h200-sxm``."""

    id: SkuId
    display_name: str
    vendor: str  # NVIDIA, AMD
    gpu_model: str  # as the nodes report it
    gpu_memory_mib: int
    shape: Shape
    runtime: Runtime
    region: str
    allowed_gpu_counts: tuple[int, ...]
    vcpus_per_gpu: int
    memory_mib_per_gpu: int
    beside: Beside = Beside.NOTHING  # with each GPU
    image_ids: tuple[str, ...]
    demand_mix: tuple[tuple[int, int], ...] = USUAL_MIX  # launches to come: size, weight
    summary: str = ""
    active: bool = True
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The price of a SKU from an instant until the next price of the same SKU."""

    id: str  # "<sku>/<RFC 3339 from>"
    sku_id: SkuId
    micros_per_gpu_hour: int
    currency: str
    starts_at: datetime


class ImageTrust(StrEnum):
    """Whether what is kept where an image says is what the image is named by."""

    UNVERIFIED = "unverified"  # nobody looked yet, or it could not be looked at
    VERIFYING = "verifying"  # it is being read
    VERIFIED = "verified"  # it was read, and has the digest
    FAILED = "failed_verification"  # it was read and is another thing, or is not there


@dataclass(frozen=True, slots=True, kw_only=True)
class OsImage:
    """What can be booted. ``digest`` names its content in the form its runtime wants.

    Attributes:
        trust: what the last verification found, ``trust_at`` when, ``trust_reason`` why or how far.
        size_bytes: of what was read; None until it was.
    """

    id: ImageId
    name: str
    runtime: Runtime
    version: str
    username: str  # who one signs in as
    summary: str = ""
    digest: str = ""
    active: bool = True
    trust: ImageTrust = ImageTrust.UNVERIFIED
    trust_reason: str = ""
    trust_at: datetime | None = None
    size_bytes: int | None = None
    created_at: datetime
