"""Rows of the catalog."""

from typing import Protocol

from gpucloud_core.catalog.model import OsImage, Price, Sku
from gpucloud_core.kernel.rows import Rows
from gpucloud_core.kernel.unit import Unit


class CatalogUnit(Unit, Protocol):
    @property
    def skus(self) -> Rows[Sku]: ...
    @property
    def prices(self) -> Rows[Price]: ...
    @property
    def os_images(self) -> Rows[OsImage]: ...
