"""Everything an operator's work on nodes may touch, as one narrow unit."""

from typing import Protocol

from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.kernel.secret_box import SecretUnit


class FleetUnit(AllocationUnit, SecretUnit, Protocol):
    """An allocation's rows, and the sealed keys of nodes."""
