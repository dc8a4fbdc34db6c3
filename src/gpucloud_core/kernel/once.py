"""Everything that one Idempotency-Key does, in one transaction: the effect and its answer.

While an ``Attempt`` is armed in the present context, each unit of work that begins joins the
attempt's single transaction in a scope of its own, and a refusal undoes exactly its own unit: the
first one with the whole transaction, which the next begins anew, and later ones by a savepoint.
The key's row is written first and the answer last, then both are committed with the effect, or
nothing is. So whatever is done by a keyed request happens once, and no use
case has to know of keys. Only what calls the outside between two units cannot be done in one
transaction; it keeps its intent under the key itself (``idempotency.replay`` and ``remember``).
"""

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final, Protocol, Self, TypeVar

from gpucloud_core.kernel.errors import DomainError, ErrorKind
from gpucloud_core.kernel.idempotency import (
    IdempotencyInProgress,
    IdempotencyKey,
    IdempotencyKeyReused,
    IdempotentUnit,
    StoredResponse,
)
from gpucloud_core.kernel.unit import Scope

U = TypeVar("U")
T = TypeVar("T")


class SecretNotReplayed(DomainError):
    """The first answer under this Idempotency-Key held a secret, which is not kept."""

    code = "secret_not_replayed"
    kind = ErrorKind.CONFLICT
    next_step = "Use the secret of the first answer; if it is lost, ask for another with a new key."


class Replayed(Exception):
    """The key's effect is committed; here is what was answered."""

    def __init__(self, stored: StoredResponse) -> None:
        super().__init__(stored.id)
        self.status = stored.status or HTTPStatus.OK
        self.response = stored.response


class JoinableUnit(IdempotentUnit, Protocol):
    """A unit of work that others may join."""

    def within(self, scope: Scope, *, apart: bool = True) -> AbstractAsyncContextManager[Self]:
        """Begin a part of this transaction in ``scope``.

        An exception undoes that part alone, if it is ``apart``; else whoever began the
        transaction has to undo it all.
        """
        ...


class Attempt:
    """One try of a keyed effect. Armed, it is what units of work join; kept, it is committed."""

    def __init__(self) -> None:
        self._key: IdempotencyKey | None = None
        self._row: StoredResponse | None = None
        self._unit: JoinableUnit | None = None
        self._transaction: AbstractAsyncContextManager[Any] | None = None
        self._endings: list[Callable[[], None]] = []

    @property
    def key(self) -> IdempotencyKey | None:
        """The key in force; None before it is known and after the attempt has ended."""
        return self._key

    @property
    def has_begun(self) -> bool:
        """Tell whether a transaction is open, so that there is something to keep or to drop."""
        return self._transaction is not None

    def arm(self, key: IdempotencyKey) -> None:
        self._key = key

    @asynccontextmanager
    async def join(
        self,
        begin: Callable[[Scope], AbstractAsyncContextManager[U]],
        scope: Scope,
        key: IdempotencyKey,
    ) -> AsyncIterator[U]:
        """Begin a part of the attempt's transaction; the first one opens it.

        Raises:
            Replayed: the key's effect is committed already.
            IdempotencyInProgress, IdempotencyKeyReused, SecretNotReplayed: see there.
        """
        is_first = self._unit is None
        if is_first:
            await self._open(begin, key)
        unit: Any = self._unit  # of the class that ``begin`` gives
        try:
            async with unit.within(scope, apart=not is_first) as part:
                yield part
        except BaseException:
            if is_first:
                await self._undo()
            raise

    async def _open(
        self, begin: Callable[[Scope], AbstractAsyncContextManager[Any]], key: IdempotencyKey
    ) -> None:
        transaction = begin(Scope.tenant(key.tenant_id))
        unit = await transaction.__aenter__()
        try:
            self._row = await _claim(unit, key)
        except BaseException:
            await transaction.__aexit__(*sys.exc_info())
            raise
        self._unit, self._transaction = unit, transaction

    async def keep(self, status: int, response: str) -> None:
        """Store the answer and commit it with the effect; without an effect, do nothing."""
        unit, row, transaction = self._unit, self._row, self._transaction
        self._end()
        if unit is None or row is None or transaction is None:
            return
        try:
            try:
                await unit.stored_responses.put(replace(row, status=status, response=response))
            except BaseException:
                await transaction.__aexit__(*sys.exc_info())
                raise
            await transaction.__aexit__(None, None, None)
        finally:
            self._say_ended()

    async def keep_secret(self, names: str) -> None:
        """Commit the effect; of its answer, keep only what names the object it made."""
        await self.keep(HTTPStatus.CONFLICT, names)

    async def drop(self) -> None:
        """Undo whatever is not committed, and do no more under the key."""
        self._key = None
        await self._undo()

    async def _undo(self) -> None:
        """Undo whatever is not committed; the next unit begins anew."""
        transaction = self._transaction
        self._unit = self._row = self._transaction = None
        if transaction is not None:
            undo = _UndoneError()
            try:
                with _expected(undo):
                    await transaction.__aexit__(_UndoneError, undo, None)
            finally:
                self._say_ended()

    def when_ended(self, then: Callable[[], None]) -> None:
        """Call ``then`` once the transaction is committed or undone."""
        self._endings.append(then)

    def _say_ended(self) -> None:
        endings, self._endings = self._endings, []
        for then in endings:
            then()

    def _end(self) -> None:
        self._key = self._row = self._unit = self._transaction = None


class _UndoneError(Exception):
    """Thrown into a transaction that is to be rolled back."""


@contextmanager
def _expected(error: Exception) -> Iterator[None]:
    try:
        yield
    except _UndoneError as raised:
        if raised is not error:
            raise


async def _claim(unit: IdempotentUnit, key: IdempotencyKey) -> StoredResponse:
    """Write the key's row, or say why not."""
    row = StoredResponse(
        id=key.id,
        tenant_id=key.tenant_id,
        body_hash=key.body_hash,
        created_at=await unit.now(),
    )
    if await unit.stored_responses.begin(row):
        return row
    if not await unit.stored_responses.try_lock(key.id):
        raise IdempotencyInProgress
    stored = await unit.stored_responses.get(key.id)
    if stored is None:  # a twin was undone between our two looks
        await unit.stored_responses.add(row)
        return row
    if stored.body_hash != key.body_hash:
        raise IdempotencyKeyReused
    if stored.status == HTTPStatus.CONFLICT:
        raise SecretNotReplayed(f"The first answer held a secret of {stored.response}.")
    raise Replayed(stored)


_attempt: Final[ContextVar[Attempt | None]] = ContextVar("attempt", default=None)


def current_attempt() -> Attempt | None:
    """Return the attempt of the present context."""
    return _attempt.get()


def when_ended(then: Callable[[], None]) -> None:
    """Call ``then`` when the attempt's transaction has ended; now, where none is open."""
    attempt = _attempt.get()
    if attempt is None or not attempt.has_begun:
        then()
    else:
        attempt.when_ended(then)


def joined(
    begin: Callable[[Scope], AbstractAsyncContextManager[U]], scope: Scope
) -> AbstractAsyncContextManager[U]:
    """Begin a unit: a transaction of its own, or a part of the attempt's that is in force.

    Every implementation of ``Transactions`` begins its units through this.
    """
    attempt = _attempt.get()
    if attempt is None or attempt.key is None:
        return begin(scope)
    return attempt.join(begin, scope, attempt.key)


def is_keyed() -> bool:
    """Tell whether a unit that began now would be a part of the attempt's transaction."""
    attempt = _attempt.get()
    return attempt is not None and attempt.key is not None


@asynccontextmanager
async def attempting() -> AsyncIterator[Attempt]:
    """Put an attempt in force, to be armed inside; what it did not keep is undone in the end."""
    attempt = Attempt()
    token = _attempt.set(attempt)
    try:
        yield attempt
    finally:
        _attempt.reset(token)
        await attempt.drop()


async def once(
    key: IdempotencyKey,
    effect: Callable[[], Awaitable[T]],
    *,
    written: Callable[[T], object],
    read: Callable[[object], T],
) -> T:
    """Return what ``effect`` made, now or when the key was first used.

    Args:
        key: of the caller.
        effect: what must happen once; it calls nothing outside between two of its units.
        written: the value as plain JSON, without a secret.
        read: the value from the JSON.

    Raises:
        IdempotencyInProgress, IdempotencyKeyReused: see there.
    """
    async with attempting() as attempt:
        attempt.arm(key)
        try:
            made = await effect()
        except Replayed as earlier:
            return read(json.loads(earlier.response))
        await attempt.keep(HTTPStatus.OK, json.dumps(written(made)))
    return made
