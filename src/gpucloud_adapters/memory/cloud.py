"""A whole cloud in one object: the real use cases on memory adapters, in time that you own.

For embedding, for tests and for simulation. Nothing here decides anything; it only puts the
core together and lets time pass from one due row to the next.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final

from gpucloud_adapters.memory.anchors import MemoryAnchors
from gpucloud_adapters.memory.images import MemoryImageSource
from gpucloud_adapters.memory.node_driver import MemoryNodeDriver
from gpucloud_adapters.memory.passwords import ScryptPasswordHasher
from gpucloud_adapters.memory.rate_limits import MemoryRateLimiter
from gpucloud_adapters.memory.unit import MemoryTransactions
from gpucloud_core.access.model import Actor, PlatformRole, SessionKind, SshKey
from gpucloud_core.access.ports import PasswordHasher
from gpucloud_core.access.session_life import Client
from gpucloud_core.access.sessions import ResolveActor
from gpucloud_core.access.sign_in import SignUp
from gpucloud_core.access.ssh_keys import AddSshKey
from gpucloud_core.allocations.actions import Provision, Release
from gpucloud_core.allocations.cleanup import CleanUp
from gpucloud_core.allocations.drift import Drift
from gpucloud_core.allocations.endings import ReleaseExpired, ReleaseUnfunded
from gpucloud_core.allocations.launch import Accepted, LaunchAllocations
from gpucloud_core.allocations.operations import EditKeysOnNode, ForceCleanup
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.queries import (
    AllocationView,
    ReadAllocation,
    ReadReceipt,
    ReadTask,
    Receipt,
    TaskView,
)
from gpucloud_core.allocations.quote import Quote, QuoteLaunch
from gpucloud_core.allocations.reconcile import ReconcileMoney, ReconcileNode
from gpucloud_core.allocations.release import CancelAllocation, ReleaseAllocation
from gpucloud_core.allocations.request import LaunchRequest
from gpucloud_core.allocations.restart import RestartAllocation, RestartOnNode
from gpucloud_core.billing.accounts import open_account
from gpucloud_core.billing.due import MeetDeadline, SettleDue
from gpucloud_core.billing.goodwill import GiveGoodwill
from gpucloud_core.billing.model import Balance
from gpucloud_core.billing.queries import ReadBalance
from gpucloud_core.catalog.model import OsImage, Price, Runtime, Shape, Sku
from gpucloud_core.fleet.look import ChangeModeOnNode, DiscoverNode, ProbeNode
from gpucloud_core.fleet.plan import PlayPlan
from gpucloud_core.fleet.verify_audit import CheckAudit
from gpucloud_core.fleet.verify_image import ReadImageOutside
from gpucloud_core.kernel.idempotency import IdempotencyKey
from gpucloud_core.kernel.ids import (
    AllocationId,
    ImageId,
    ProjectId,
    SkuId,
    TaskId,
    TenantId,
    entity_id,
)
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.nodes.model import NodeAccess, NodeMode, Topology
from gpucloud_core.nodes.systems import hgx_h200
from gpucloud_core.placement.enroll import EnrollNode, NodeFacts
from gpucloud_core.placement.fleet_view import FleetView
from gpucloud_core.waitlist.serve import ServeWaitlist
from gpucloud_core.work.run import RunTask

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
REGION: Final = "eu-fra-1"
SKU: Final = SkuId("h200-sxm")
QUIET_TURNS_MAX: Final = 10_000
_HASH_COST: Final = 1 << 4  # nobody's secret is kept here


class OwnClock:
    """Time that passes only when told."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def advance_to(self, instant: datetime) -> None:
        self._now = max(self._now, instant)


class CountedIds:
    """Ids 1, 2, 3 …: the same in every run."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def new(self, prefix: str) -> str:
        return entity_id(prefix, next(self._numbers))


class CountedSecrets:
    """Tokens and jitter that are the same in every run; no secret at all."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def token(self) -> str:
        return f"token-{next(self._numbers):032d}"

    def jitter(self) -> float:
        return (next(self._numbers) * 0.618_033_988_75) % 1


def standard_sku(at: datetime, *, micros_per_gpu_hour: int) -> tuple[Sku, Price, OsImage]:
    """Return an H200 slice SKU, its price, and the image it runs."""
    image = OsImage(
        id=ImageId(entity_id("img", 1)),
        name="Ubuntu",
        version="24.04, CUDA 13",
        runtime=Runtime.CONTAINER,
        username="ubuntu",
        summary="Ubuntu with the CUDA toolkit.",
        created_at=at,
    )
    sku = Sku(
        id=SKU,
        display_name="H200 SXM 141 GB",
        vendor="NVIDIA",
        gpu_model="NVIDIA H200",
        gpu_memory_mib=143_771,
        shape=Shape.GPU_SLICE,
        runtime=Runtime.CONTAINER,
        region=REGION,
        allowed_gpu_counts=(1, 2, 4, 8),
        vcpus_per_gpu=20,
        memory_mib_per_gpu=200_000,
        image_ids=(image.id,),
        created_at=at,
    )
    price = Price(
        id=f"{SKU}/{at.isoformat()}",
        sku_id=SKU,
        micros_per_gpu_hour=micros_per_gpu_hour,
        currency="USD",
        starts_at=at,
    )
    return sku, price, image


@dataclass(kw_only=True)
class MemoryCloud:
    """Build with ``await MemoryCloud.found()``; then sign up, launch, let time pass, release."""

    clock: OwnClock
    transactions: MemoryTransactions
    driver: MemoryNodeDriver
    ids: CountedIds = field(default_factory=CountedIds)
    secrets: CountedSecrets = field(default_factory=CountedSecrets)
    fleet: FleetView = field(default_factory=FleetView)
    anchors: MemoryAnchors = field(default_factory=MemoryAnchors)
    images: MemoryImageSource = field(default_factory=MemoryImageSource)
    hasher: PasswordHasher | None = None  # None: scrypt, at a cost that suits nobody's secrets

    @classmethod
    async def found(
        cls, *, nodes: int = 1, micros_per_gpu_hour: int = 3_290_000, start: datetime = START
    ) -> "MemoryCloud":
        """Return a cloud of HGX H200 nodes that sells slices by the second."""
        clock = OwnClock(start)
        topologies = {f"node-{n + 1}": hgx_h200(seed=f"node-{n + 1}") for n in range(nodes)}
        cloud = cls(
            clock=clock,
            transactions=MemoryTransactions(clock),
            driver=MemoryNodeDriver(topologies, clock=clock),
        )
        await cloud.stock(topologies, micros_per_gpu_hour=micros_per_gpu_hour)
        return cloud

    async def stock(self, topologies: Mapping[str, Topology], *, micros_per_gpu_hour: int) -> None:
        """Put the standard SKU on sale, and enroll the nodes that it is sold from."""
        now = self.clock.now()
        sku, price, image = standard_sku(now, micros_per_gpu_hour=micros_per_gpu_hour)
        async with self.transactions.begin(Scope.platform()) as unit:
            await unit.os_images.add(image)
            await unit.skus.add(sku)
            await unit.prices.add(price)
        for number, (host, topology) in enumerate(topologies.items()):
            await self.enroll(host, topology, network=number)

    async def enroll(self, host: str, topology: Topology, *, network: int) -> None:
        """Add a node; its slots answer at addresses of their own."""
        facts = NodeFacts(
            name=host,
            region=REGION,
            mode=NodeMode.CONTAINER,
            access=NodeAccess(
                host=host,
                port=22,
                username="gpucloud",
                host_key="ssh-ed25519 AAAA",
                credential="node",
            ),
            topology=topology,
            endpoints=[(f"10.0.{network}.{gpu.index + 1}", 22) for gpu in topology.gpus],
            shared_kernel=True,
        )
        await EnrollNode(transactions=self.transactions, ids=self.ids)(facts)

    async def sign_up(self, username: str) -> Actor:
        """Make a person with a personal tenant and a project, and return them as an actor."""
        client = Client(ip="192.0.2.1")
        sign_up = SignUp(
            transactions=self.transactions,
            hasher=self.hasher or ScryptPasswordHasher(self.secrets, cost=_HASH_COST),
            limiter=MemoryRateLimiter(self.clock),
            secrets=self.secrets,
            ids=self.ids,
            founding=(open_account,),
        )
        made = await sign_up(
            username=username,
            password=f"{username}'s long password",
            kind=SessionKind.API,
            client=client,
        )
        resolve = ResolveActor(transactions=self.transactions)
        token = made.tokens.access_token
        return await resolve(token=token, kind=SessionKind.API, client=client)

    async def add_key(self, actor: Actor, public_key: str) -> SshKey:
        add = AddSshKey(transactions=self.transactions, ids=self.ids)
        return await add(actor=actor, name="laptop", public_key=public_key)

    async def give(self, actor: Actor, micros: int) -> Balance:
        """Put credit on the balance of an actor's tenant, as an operator would."""
        give = GiveGoodwill(transactions=self.transactions)
        key = IdempotencyKey.of(
            tenant_id=actor.tenant_id, route="give", key=self.ids.new("trf"), body=b""
        )
        return await give(
            actor=self.operator(actor.tenant_id),
            tenant_id=actor.tenant_id,
            micros=micros,
            reason="Welcome",
            idempotency=key,
        )

    def operator(self, tenant_id: TenantId) -> Actor:
        return Actor(
            user_id=None,
            username="operator",
            tenant_id=tenant_id,
            tenant_role=None,
            platform_role=PlatformRole.ADMIN,
        )

    def project_of(self, actor: Actor) -> ProjectId:
        return next(iter(actor.project_roles))

    async def launch(self, actor: Actor, request: LaunchRequest) -> Accepted:
        launch = LaunchAllocations(transactions=self.transactions, ids=self.ids, fleet=self.fleet)
        return await launch(actor=actor, project_id=self.project_of(actor), request=request)

    async def quote(self, actor: Actor, request: LaunchRequest) -> Quote:
        quote = QuoteLaunch(transactions=self.transactions, fleet=self.fleet)
        return await quote(actor=actor, project_id=self.project_of(actor), request=request)

    async def release(self, actor: Actor, allocation_id: AllocationId) -> None:
        release = ReleaseAllocation(transactions=self.transactions, ids=self.ids)
        await release(actor=actor, allocation_id=allocation_id)

    async def restart(self, actor: Actor, allocation_id: AllocationId) -> None:
        restart = RestartAllocation(transactions=self.transactions, ids=self.ids)
        await restart(actor=actor, allocation_id=allocation_id)

    async def cancel(self, actor: Actor, allocation_id: AllocationId) -> None:
        await CancelAllocation(transactions=self.transactions)(
            actor=actor, allocation_id=allocation_id
        )

    async def read(self, actor: Actor, allocation_id: AllocationId) -> AllocationView:
        read = ReadAllocation(transactions=self.transactions)
        return await read(actor=actor, allocation_id=allocation_id)

    async def read_task(self, actor: Actor, task_id: TaskId) -> TaskView:
        return await ReadTask(transactions=self.transactions)(actor=actor, task_id=task_id)

    async def receipt(self, actor: Actor, allocation_id: AllocationId) -> Receipt:
        read = ReadReceipt(transactions=self.transactions)
        return await read(actor=actor, allocation_id=allocation_id)

    async def balance(self, actor: Actor) -> Balance:
        return await ReadBalance(transactions=self.transactions)(actor=actor)

    async def reconcile(self) -> tuple[Drift, ...]:
        """Compare every node, and all the money, with the rows; return what differed."""
        node = ReconcileNode(transactions=self.transactions, ids=self.ids, driver=self.driver)
        money = ReconcileMoney(transactions=self.transactions, ids=self.ids)
        async with self.transactions.begin(Scope.platform()) as unit:
            nodes = await unit.nodes.find()
        found = [drift for row in nodes for drift in await node(row.id)]
        return (*found, *await money())

    async def work(self) -> None:
        """Do everything that is due at this instant."""
        run = self.runner()
        for _ in range(QUIET_TURNS_MAX):
            async with self.transactions.begin(Scope.platform()) as unit:
                tasks = await unit.tasks.due(self.clock.now(), limit=100)
            for task_id in tasks:
                await run(task_id)
            if not tasks and not await self._money() and not await self._timers():
                return
        raise AssertionError("due work does not get less")

    async def pass_time(self, duration: timedelta) -> None:
        """Let time pass, stopping wherever something falls due, and do it there."""
        end = self.clock.now() + duration
        while True:
            await self.work()
            upcoming = [at for at in await self._due_instants() if self.clock.now() < at < end]
            if not upcoming:
                break
            self.clock.advance_to(min(upcoming))
        self.clock.advance_to(end)
        await self.work()

    def runner(self) -> RunTask[AllocationUnit]:
        """Return what a worker runs tasks with."""
        kinds = (
            *(Provision, Release, EditKeysOnNode, ForceCleanup, CleanUp, RestartOnNode),
            *(ProbeNode, DiscoverNode, ChangeModeOnNode),
        )
        made = [
            kind(transactions=self.transactions, driver=self.driver, ids=self.ids) for kind in kinds
        ]
        check = CheckAudit(transactions=self.transactions, anchors=self.anchors)
        verify = ReadImageOutside(transactions=self.transactions, source=self.images)
        what_if = PlayPlan(transactions=self.transactions)
        return RunTask(
            transactions=self.transactions,
            ids=self.ids,
            jitter=self.secrets,
            actions={
                **{action.saga.kind: action for action in made},
                verify.saga.kind: verify,
                check.saga.kind: check,
                what_if.saga.kind: what_if,
            },
        )

    async def _money(self) -> int:
        settled = await SettleDue(transactions=self.transactions)()
        met = await MeetDeadline(transactions=self.transactions)()
        released = 0
        for tenant_id in await self._tenants():
            unfunded = ReleaseUnfunded(transactions=self.transactions, ids=self.ids)
            released += await unfunded(tenant_id)
        return settled + met + released

    async def _timers(self) -> int:
        ended = await ReleaseExpired(transactions=self.transactions, ids=self.ids)()
        launch = LaunchAllocations(transactions=self.transactions, ids=self.ids, fleet=self.fleet)
        return ended + await ServeWaitlist(transactions=self.transactions, launch=launch)()

    async def _tenants(self) -> Sequence[TenantId]:
        async with self.transactions.begin(Scope.platform()) as unit:
            return [account.tenant_id for account in await unit.billing_accounts.find()]

    async def _due_instants(self) -> list[datetime]:
        async with self.transactions.begin(Scope.platform()) as unit:
            tasks = [task.due_at for task in await unit.tasks.find(finished_at=None)]
            accounts = [row.next_deadline_at for row in await unit.billing_accounts.find()]
            segments = await unit.usage_segments.find(ended_at=None)
            timers = [row.releases_at for row in await unit.allocations.find()]
            waits = [
                at for row in await unit.waitlist.find() for at in (row.due_at, row.expires_at)
            ]
        due = [*tasks, *accounts, *(s.next_settlement_at for s in segments), *timers, *waits]
        return [at for at in due if at is not None]
