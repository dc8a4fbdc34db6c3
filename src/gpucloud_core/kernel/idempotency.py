"""One effect per Idempotency-Key, also when the client, the network or we die in between.

The key's row is written in the same transaction as the effect, so a crash leaves neither. A twin
in flight is seen by a lock that nobody waits for. Effects that were committed are replayed;
refusals leave no row and are evaluated again.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gpucloud_core.kernel.errors import DomainError, ErrorKind
from gpucloud_core.kernel.ids import TenantId
from gpucloud_core.kernel.rows import Rows

KEY_LENGTH_MAX = 128


class IdempotencyKeyReused(DomainError):
    """This Idempotency-Key was used with another request."""

    code = "idempotency_key_reused"
    kind = ErrorKind.INVALID
    next_step = "Use a new key for a new request; the first one took effect as it was."


class IdempotencyInProgress(DomainError):
    """A request with this Idempotency-Key is still being worked on."""

    code = "idempotency_in_progress"
    kind = ErrorKind.CONFLICT
    next_step = "Wait a second and send the same request again; its outcome is then replayed."


class IdempotencyKeyInvalid(DomainError):
    """An Idempotency-Key has 1 to 128 printable ASCII characters."""

    code = "idempotency_key_invalid"
    kind = ErrorKind.INVALID
    next_step = "Send a random UUID, made before the first try."


class IdempotencyKeyRequired(DomainError):
    """This request spends money, so it needs an Idempotency-Key."""

    code = "idempotency_key_required"
    kind = ErrorKind.INVALID
    next_step = "Add an Idempotency-Key header with a random UUID."


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResponse:
    """The outcome kept under a key.

    Attributes:
        id: ``<tenant>/<who>/<route>/<key>``.
        status: as answered; None while it is worked on. 409: the answer held a secret, and
            ``response`` only names the object that it belongs to.
    """

    id: str
    tenant_id: TenantId
    body_hash: str
    status: int | None = None
    response: str = ""
    created_at: datetime

    @property
    def is_begun(self) -> bool:
        """Tell whether there is no answer yet; nobody but the unit that works on it sees that."""
        return not self.response and self.status is None


class StoredResponses(Rows[StoredResponse], Protocol):
    async def begin(self, row: StoredResponse) -> bool:
        """Take the key for this transaction and write its row; False if it is taken or written."""
        ...

    async def try_lock(self, key: str) -> bool:
        """Take the key for this transaction; False if a twin in flight holds it."""
        ...


class IdempotentUnit(Protocol):
    @property
    def stored_responses(self) -> StoredResponses: ...

    async def now(self, *, not_before: datetime | None = None) -> datetime: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyKey:
    """A client's key, whose it is, the route it was sent to, and what was sent."""

    tenant_id: TenantId
    route: str
    key: str
    body_hash: str
    who: str = ""

    @classmethod
    def of(
        cls, *, tenant_id: TenantId, route: str, key: str, body: bytes, who: str = ""
    ) -> "IdempotencyKey":
        """Return the key, checked. Two people's keys never meet; ``who`` tells them apart.

        Raises:
            IdempotencyKeyInvalid: empty, too long or not printable ASCII.
        """
        if not 0 < len(key) <= KEY_LENGTH_MAX or not key.isascii() or not key.isprintable():
            raise IdempotencyKeyInvalid
        digest = hashlib.sha256(route.encode() + b"\0" + body).hexdigest()
        return cls(tenant_id=tenant_id, route=route, key=key, body_hash=digest, who=who)

    @property
    def id(self) -> str:
        return f"{self.tenant_id}/{self.who}/{self.route}/{self.key}"


async def replay(unit: IdempotentUnit, key: IdempotencyKey | None) -> object | None:
    """Begin a keyed effect: return what an earlier one answered, or None to go on.

    For what calls the outside after it has stored its intent; all else is done ``once``.

    Raises:
        IdempotencyInProgress: a twin holds the key now.
        IdempotencyKeyReused: the key belongs to another body.
    """
    if key is None:
        return None
    if not await unit.stored_responses.try_lock(key.id):
        raise IdempotencyInProgress
    stored = await unit.stored_responses.get(key.id)
    if stored is None or stored.is_begun:
        return None
    if stored.body_hash != key.body_hash:
        raise IdempotencyKeyReused
    answer: object = json.loads(stored.response)
    return answer


async def remember(unit: IdempotentUnit, key: IdempotencyKey | None, answer: object) -> None:
    """Keep ``answer`` (plain JSON values, no secret) under the key, with the effect itself.

    Where the whole request is done ``once``, the key is in use already and nothing is to do.
    """
    if key is not None and await unit.stored_responses.get(key.id) is None:
        await unit.stored_responses.add(
            StoredResponse(
                id=key.id,
                tenant_id=key.tenant_id,
                body_hash=key.body_hash,
                response=json.dumps(answer),
                created_at=await unit.now(),
            )
        )
