"""Operators on what-if plans."""

from collections.abc import Mapping
from typing import Final

from write_examples.world import Call, Example, World


async def _plan(_: World) -> Call:
    return Call("/admin/plans", {"nodes": 2, "launches": 5})


EXAMPLES: Final[Mapping[str, Example]] = {"planCapacity": _plan}
