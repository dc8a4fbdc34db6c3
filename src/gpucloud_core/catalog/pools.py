"""The pool that a SKU draws from, and that a node's capacity belongs to: one name for both.

A pool holds interchangeable supply: one region, one GPU model as the nodes report it, one
runtime. The shape follows from the runtime, and a container never lands on a node whose GPUs are
bound to virtual machines.
"""

from gpucloud_core.catalog.model import Sku


def pool_name(*, region: str, gpu_model: str, runtime: str) -> str:
    """Return the pool's name, such as ``eu-north/NVIDIA H200/container``.

    ``runtime`` is a SKU's runtime, or a node's mode, which has the same names.
    """
    return f"{region}/{gpu_model}/{runtime}"


def pool_of(sku: Sku) -> str:
    """Return the pool that ``sku`` is sold from."""
    return pool_name(region=sku.region, gpu_model=sku.gpu_model, runtime=sku.runtime)
