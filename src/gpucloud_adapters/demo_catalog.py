"""What the demo sells: a SKU per kind of simulated host, its price, and the images it runs."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from gpucloud_core.catalog.model import Beside, OsImage, Price, Runtime, Shape, Sku
from gpucloud_core.kernel.ids import ImageId, SkuId, entity_id
from gpucloud_core.nodes.systems import SYSTEMS

REGION: Final = "eu-fra-1"
OPENED: Final = datetime(2026, 1, 1, tzinfo=UTC)


def _image(number: int, name: str, version: str, summary: str) -> OsImage:
    return OsImage(
        id=ImageId(entity_id("img", number)),
        name=name,
        version=version,
        runtime=Runtime.CONTAINER,
        username="ubuntu",
        summary=summary,
        created_at=OPENED,
    )


_CUDA: Final = (
    _image(
        1,
        "Ubuntu",
        "24.04, CUDA 13",
        "The CUDA toolkit, Python and a compiler. A good place to begin.",
    ),
    _image(
        2,
        "PyTorch",
        "2.9 on Ubuntu 24.04",
        "PyTorch with NCCL and FlashAttention, ready to train.",
    ),
)
_ROCM: Final = (
    _image(
        3,
        "Ubuntu",
        "24.04, ROCm 7",
        "ROCm, Python and a compiler. A good place to begin.",
    ),
    _image(
        4,
        "PyTorch for ROCm",
        "2.9 on Ubuntu 24.04",
        "PyTorch with RCCL, ready to train.",
    ),
)
IMAGES: Final = (*_CUDA, *_ROCM)


def _sku(
    sku_id: str,
    display_name: str,
    system: str,
    *,
    vcpus: int,
    memory_mib: int,
    summary: str,
    beside: Beside = Beside.NOTHING,
) -> Sku:
    """Return the SKU that sells a system's GPUs; ``vcpus`` and memory go with each of them."""
    machine = SYSTEMS[system]
    return Sku(
        id=SkuId(sku_id),
        display_name=display_name,
        vendor="AMD" if machine.is_amd else "NVIDIA",
        gpu_model=machine.gpu_model,
        gpu_memory_mib=machine.gpu_memory_mib,
        shape=Shape.GPU_SLICE,
        runtime=Runtime.CONTAINER,
        region=REGION,
        allowed_gpu_counts=(1, 2, 4, 8),
        vcpus_per_gpu=vcpus,
        memory_mib_per_gpu=memory_mib,
        beside=beside,
        image_ids=tuple(image.id for image in (_ROCM if machine.is_amd else _CUDA)),
        summary=summary,
        created_at=OPENED,
    )


SKUS: Final = (
    _sku(
        "h200-sxm",
        "H200 SXM 141 GB",
        "hgx-h200",
        vcpus=20,
        memory_mib=200_000,
        summary="Eight to a node on NVSwitch; any 1, 2, 4 or 8 of them.",
    ),
    _sku(
        "h200-sxm-nvme",
        "H200 SXM 141 GB + NVMe",
        "hgx-h200",
        vcpus=20,
        memory_mib=200_000,
        summary="The same, and 3.84 TB of local NVMe at /data with each GPU, erased after you.",
        beside=Beside.DISK,
    ),
    _sku(
        "b200-sxm",
        "B200 SXM 180 GB",
        "hgx-b200",
        vcpus=24,
        memory_mib=229_376,
        summary="The newest: eight to a node on NVSwitch, 180 GB each.",
    ),
    _sku(
        "a100-sxm",
        "A100 SXM 80 GB",
        "hgx-a100",
        vcpus=14,
        memory_mib=229_376,
        summary="Well tried: eight to a node on NVSwitch, 80 GB each.",
    ),
    _sku(
        "l40s-pcie",
        "L40S 48 GB",
        "l40s-x8",
        vcpus=14,
        memory_mib=114_688,
        summary="PCIe cards for inference and rendering; best alone or in pairs.",
    ),
    _sku(
        "mi300x",
        "MI300X 192 GB",
        "mi300x-x8",
        vcpus=40,
        memory_mib=262_144,
        summary="192 GB each, eight to a node, every one linked to every other.",
    ),
)
_MICROS_PER_GPU_HOUR: Final[Mapping[str, int]] = {
    "h200-sxm": 3_290_000,
    "h200-sxm-nvme": 3_490_000,
    "b200-sxm": 4_990_000,
    "a100-sxm": 1_590_000,
    "l40s-pcie": 890_000,
    "mi300x": 2_190_000,
}


def price_of(sku: Sku) -> Price:
    """Return the price of a SKU since the demo opened."""
    return Price(
        id=f"{sku.id}/{OPENED.isoformat()}",
        sku_id=sku.id,
        micros_per_gpu_hour=_MICROS_PER_GPU_HOUR[sku.id],
        currency="USD",
        starts_at=OPENED,
    )
