"""A small world in which people sign up: the memory adapter, a clock that stands, quick hashes."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

from gpucloud_adapters.memory.passwords import ScryptPasswordHasher
from gpucloud_adapters.memory.rate_limits import MemoryRateLimiter
from gpucloud_adapters.memory.unit import MemoryTransactions
from gpucloud_core.access.model import Actor, SessionKind
from gpucloud_core.access.session_life import Client
from gpucloud_core.access.sessions import ResolveActor
from gpucloud_core.access.sign_in import SignedIn, SignIn, SignUp
from gpucloud_core.kernel.audit import AuditRow
from gpucloud_core.kernel.ids import entity_id
from gpucloud_core.kernel.unit import Scope

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
PASSWORD = "correct horse battery"
HOME = Client(ip="192.0.2.1", user_agent="test", correlation_id="req-1")


class StandingClock:
    """Time passes only when a test says so."""

    def __init__(self) -> None:
        self.instant = NOON

    def now(self) -> datetime:
        return self.instant

    def pass_(self, duration: timedelta) -> None:
        self.instant += duration


class CountedIds:
    def __init__(self) -> None:
        self._numbers = count(1)

    def new(self, prefix: str) -> str:
        return entity_id(prefix, next(self._numbers))


class CountedSecrets:
    """Secrets that differ, and that a test can predict."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def token(self) -> str:
        return f"secret-{next(self._numbers)}"


@dataclass
class AccessWorld:
    """Everything the access use cases are built from."""

    clock: StandingClock = field(default_factory=StandingClock)
    ids: CountedIds = field(default_factory=CountedIds)
    secrets: CountedSecrets = field(default_factory=CountedSecrets)

    def __post_init__(self) -> None:
        self.transactions = MemoryTransactions(self.clock)
        self.limiter = MemoryRateLimiter(self.clock)
        self.hasher = ScryptPasswordHasher(self.secrets, cost=2)

    @property
    def sign_up(self) -> SignUp:
        return SignUp(
            transactions=self.transactions,
            hasher=self.hasher,
            limiter=self.limiter,
            secrets=self.secrets,
            ids=self.ids,
        )

    @property
    def sign_in(self) -> SignIn:
        return SignIn(
            transactions=self.transactions,
            hasher=self.hasher,
            limiter=self.limiter,
            secrets=self.secrets,
        )

    async def signed_up(
        self, username: str = "ada", kind: SessionKind = SessionKind.API
    ) -> SignedIn:
        return await self.sign_up(username=username, password=PASSWORD, kind=kind, client=HOME)

    async def actor(self, username: str = "ada") -> Actor:
        signed_in = await self.signed_up(username)
        resolve = ResolveActor(transactions=self.transactions)
        token = signed_in.tokens.access_token
        return await resolve(token=token, kind=SessionKind.API, client=HOME)

    async def audited(self, action: str) -> list[AuditRow]:
        async with self.transactions.begin(Scope.platform()) as unit:
            return list(await unit.audit_rows.find(action=action))
