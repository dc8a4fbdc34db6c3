"""Audit rows as lines of JSON: what an auditor takes away and verifies without us."""

import json
from collections.abc import Mapping
from datetime import datetime

from gpucloud_core.audit.verify import Link
from gpucloud_core.kernel.audit import FACTS, AuditRow, content_hash
from gpucloud_core.kernel.errors import ValidationFailed
from gpucloud_core.kernel.time import rfc3339
from gpucloud_core.kernel.unit import Json


def export_line(row: AuditRow) -> str:
    """Return all of a row as one line of JSON, without its end."""
    content = {
        "seq": row.seq,
        "id": row.id,
        "at": rfc3339(row.at),
        **{name: getattr(row, name) for name in FACTS},
        "content_hash": row.content_hash,
        "chain_hash": row.chain_hash,
    }
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False)


def read_link(line: str) -> Link:
    """Return the link of an exported row.

    Raises:
        ValidationFailed: the line does not hold one.
    """
    try:
        content = json.loads(line)
        at = datetime.fromisoformat(content["at"])
        facts: Mapping[str, Json] = {name: content[name] for name in FACTS}
        true_hash = content_hash(content["id"], at, facts)
        return Link(
            content["id"],
            content["seq"],
            content["content_hash"],
            content["chain_hash"],
            true_hash,
        )
    except (ValueError, KeyError, TypeError):
        raise ValidationFailed("This line is not an exported audit row.") from None
