"""A catalog, nodes and tenants with money in a real database, put there by the use cases.

What tests of races and of killed processes begin from. Passwords are hashed cheaply; everything
else is as in production.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final

from access_builders import PASSWORD, AccessWorld
from gpucloud_adapters.memory.cloud import REGION, SKU, standard_sku
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_adapters.system import SystemIds, SystemSecrets
from gpucloud_core.access.model import Actor, PlatformRole, SessionKind
from gpucloud_core.access.session_life import Client
from gpucloud_core.access.sessions import ResolveActor
from gpucloud_core.access.sign_in import SignUp
from gpucloud_core.access.ssh_keys import AddSshKey
from gpucloud_core.allocations.launch import Accepted, LaunchAllocations, launch_once
from gpucloud_core.allocations.request import LaunchRequest
from gpucloud_core.billing.accounts import open_account
from gpucloud_core.billing.goodwill import GiveGoodwill
from gpucloud_core.kernel.idempotency import IdempotencyKey
from gpucloud_core.kernel.ids import ProjectId
from gpucloud_core.kernel.unit import Scope
from gpucloud_core.nodes.model import NodeAccess, NodeMode, Topology
from gpucloud_core.placement.enroll import EnrollNode, NodeFacts
from gpucloud_core.placement.fleet_view import FleetView
from gpucloud_core.placement.model import Spread

OPENED: Final = datetime(2026, 1, 1, tzinfo=UTC)
MICROS_PER_GPU_HOUR: Final = 3_290_000
GIVEN_MICROS: Final = 1_000_000_000
PUBLIC_KEY: Final = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """A tenant with money and an SSH key."""

    actor: Actor
    project_id: ProjectId
    ssh_key_id: str
    access_token: str

    def request(
        self, gpu_count: int = 1, *, count: int = 1, spread: Spread = Spread.ANY
    ) -> LaunchRequest:
        return LaunchRequest(
            sku_id=SKU,
            gpu_count=gpu_count,
            count=count,
            spread=spread,
            ssh_key_ids=(self.ssh_key_id,),
        )


@dataclass(kw_only=True)
class Market:
    """What is sold, and who buys."""

    transactions: PostgresTransactions
    ids: SystemIds = field(default_factory=SystemIds)
    access: AccessWorld = field(default_factory=AccessWorld)

    async def open(self) -> None:
        """Put the standard SKU on sale, with so small shares that GPUs alone run out."""
        sku, price, image = standard_sku(OPENED, micros_per_gpu_hour=MICROS_PER_GPU_HOUR)
        sku = replace(sku, vcpus_per_gpu=1, memory_mib_per_gpu=1024)
        async with self.transactions.begin(Scope.platform()) as unit:
            await unit.os_images.add(image)
            await unit.skus.add(sku)
            await unit.prices.add(price)

    async def enroll(
        self,
        name: str,
        topology: Topology,
        access: NodeAccess,
        endpoints: Sequence[tuple[str, int]],
    ) -> str:
        """Make a node sellable, and return its id."""
        node = await EnrollNode(transactions=self.transactions, ids=self.ids)(
            NodeFacts(
                name=name,
                region=REGION,
                mode=NodeMode.CONTAINER,
                access=access,
                topology=topology,
                endpoints=endpoints,
                shared_kernel=True,
                simulated=True,
            )
        )
        return node.id

    async def customers(self, count: int) -> list[Customer]:
        return list(await asyncio.gather(*(self.customer(f"buyer-{n}") for n in range(count))))

    async def customer(self, username: str) -> Customer:
        client = Client(ip=f"2001:db8::{abs(hash(username)) % 65_536:x}", user_agent="test")
        sign_up = SignUp(
            transactions=self.transactions,
            hasher=self.access.hasher,
            limiter=self.access.limiter,
            secrets=SystemSecrets(),
            ids=self.ids,
            founding=(open_account,),
        )
        signed = await sign_up(
            username=username, password=PASSWORD, kind=SessionKind.API, client=client
        )
        actor = await ResolveActor(transactions=self.transactions)(
            token=signed.tokens.access_token, kind=SessionKind.API, client=client
        )
        key = await AddSshKey(transactions=self.transactions, ids=self.ids)(
            actor=actor, name="id", public_key=PUBLIC_KEY
        )
        await GiveGoodwill(transactions=self.transactions)(
            actor=replace(actor, platform_role=PlatformRole.ADMIN),
            tenant_id=actor.tenant_id,
            micros=GIVEN_MICROS,
            reason="To race with",
            idempotency=IdempotencyKey.of(
                tenant_id=actor.tenant_id, route="goodwill", key="first", body=b""
            ),
        )
        return Customer(
            actor=actor,
            project_id=next(iter(actor.project_roles)),
            ssh_key_id=key.id,
            access_token=signed.tokens.access_token,
        )

    async def launch(
        self,
        customer: Customer,
        request: LaunchRequest,
        *,
        fleet: FleetView | None = None,
        idempotency: IdempotencyKey | None = None,
    ) -> Accepted:
        """Launch as one web process does; ``fleet`` is that process's view."""
        launch = LaunchAllocations(
            transactions=self.transactions, ids=self.ids, fleet=fleet or FleetView()
        )
        ask = partial(launch, actor=customer.actor, project_id=customer.project_id, request=request)
        return await (ask() if idempotency is None else launch_once(idempotency, ask))
