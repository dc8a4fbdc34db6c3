"""Administrators on the audit trail."""

from collections.abc import Mapping
from typing import Final

from write_examples.world import Call, Example, World


async def _verify_audit(_: World) -> Call:
    return Call("/admin/audit-logs/verify")


EXAMPLES: Final[Mapping[str, Example]] = {"verifyAudit": _verify_audit}
