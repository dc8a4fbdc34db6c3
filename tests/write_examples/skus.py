"""Operators on the catalog."""

from collections.abc import Mapping
from typing import Any, Final

from write_examples.world import Call, Example, World

SKU: Final[Mapping[str, Any]] = {
    "id": "h200-vm",
    "display_name": "H200 in a virtual machine",
    "vendor": "NVIDIA",
    "gpu_model": "NVIDIA H200",
    "gpu_memory_mib": 143_771,
    "runtime": "vm",
    "region": "eu-fra-1",
    "allowed_gpu_counts": [1, 8],
    "vcpus_per_gpu": 20,
    "memory_mib_per_gpu": 200_000,
}
IMAGE: Final[Mapping[str, Any]] = {
    "name": "Ubuntu",
    "version": "24.04",
    "runtime": "container",
    "username": "ubuntu",
    "digest": f"registry.example/ubuntu@sha256:{'0' * 64}",
}


async def _add_sku(_: World) -> Call:
    return Call("/admin/skus", SKU)


async def _change_sku(_: World) -> Call:
    return Call("/admin/skus/h200-sxm", {"allowed_gpu_counts": [1, 2]})


async def _set_price(_: World) -> Call:
    return Call(
        "/admin/skus/h200-sxm/prices",
        {"price_micros_per_gpu_hour": 2_990_000, "starts_at": "2030-01-01T00:00:00Z"},
    )


async def _add_image(_: World) -> Call:
    return Call("/admin/os-images", IMAGE)


async def _change_image(world: World) -> Call:
    images = (await world.client.get("/api/v1/os-images")).json()["items"]
    return Call(f"/admin/os-images/{images[0]['id']}", {"active": False, "name": "Ubuntu"})


async def _withdraw_price(world: World) -> Call:
    price = {"price_micros_per_gpu_hour": 1_990_000, "starts_at": "2031-01-01T00:00:00Z"}
    await world.client.post("/api/v1/admin/skus/h200-sxm/prices", json=price)
    return Call("/admin/skus/h200-sxm/prices/2031-01-01T00:00:00Z")


async def _verify_image(world: World) -> Call:
    made = (await world.client.post("/api/v1/admin/os-images", json=IMAGE)).json()
    return Call(f"/admin/os-images/{made['id']}/verify")


EXAMPLES: Final[Mapping[str, Example]] = {
    "addSku": _add_sku,
    "changeSku": _change_sku,
    "setPrice": _set_price,
    "addImage": _add_image,
    "changeImage": _change_image,
    "withdrawPrice": _withdraw_price,
    "verifyImage": _verify_image,
}
