"""Audit rows as they are kept: the fact, when it was recorded, and a hash of both.

The hash is of canonical JSON, so that anyone can compute it again from an export, without us.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Final

from gpucloud_core.kernel.ids import ProjectId, TenantId, UserId
from gpucloud_core.kernel.time import rfc3339
from gpucloud_core.kernel.unit import AuditFact, Json


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One fact as recorded. Append-only; the fields are those of ``AuditFact``.

    Soon after its transaction it is sealed: it takes its place in the chain (``seq``, from 1) and
    ``chain_hash`` binds it to every row before it. Both are set once.
    """

    id: str
    at: datetime
    action: str
    target: str
    result: str
    tenant_id: TenantId | None
    project_id: ProjectId | None
    user_id: UserId | None
    actor: str
    via: str
    correlation_id: str
    ip: str
    user_agent: str
    changes: Mapping[str, Json] = field(default_factory=dict)
    content_hash: str
    seq: int | None = None
    chain_hash: str | None = None


FACTS: Final = tuple(field.name for field in fields(AuditFact))
"""The fields of a row that its content hash covers, besides its id and instant."""
_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def audit_row(row_id: str, at: datetime, fact: AuditFact) -> AuditRow:
    """Return the row that records ``fact``, with its content hash."""
    facts = {name: getattr(fact, name) for name in FACTS}
    return AuditRow(id=row_id, at=at, **facts, content_hash=content_hash(row_id, at, facts))


def content_hash(row_id: str, at: datetime, facts: Mapping[str, Json]) -> str:
    """Return the SHA-256 of id, instant and facts as canonical JSON, in hexadecimal.

    Canonical: UTF-8, keys in order of code points, no spaces, instants as RFC 3339 in UTC with
    microseconds.
    """
    content = {**facts, "id": row_id, "at": rfc3339(at)}
    return hashlib.sha256(_CANONICAL.encode(content).encode()).hexdigest()
