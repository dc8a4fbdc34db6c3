"""What a launch names and depends on, read in one go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gpucloud_core.access.model import SshKey
from gpucloud_core.catalog.model import OsImage, Price, Sku
from gpucloud_core.kernel.ids import TenantId


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchNames:
    """What is asked for by name, and whose launch it is.

    Attributes:
        saga: the kind of the task that it will be, and the keys of its steps.
        live: the states in which an allocation counts as held.
    """

    tenant_id: TenantId
    sku_id: str
    ssh_key_ids: Sequence[str]
    saga: tuple[str, Sequence[str]]
    live: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRows:
    """The rows that were found; whether they may be used is for the launch to say."""

    sku: Sku | None
    images: Mapping[str, OsImage]  # those the SKU may boot, by id
    prices: tuple[Price, ...]  # of the SKU, at any time
    keys: tuple[SshKey, ...]  # those named
    gpus_held: int
    usual_seconds: Mapping[str, int]  # by step, as ``Tasks.usual_seconds``
