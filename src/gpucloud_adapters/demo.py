"""Seeds a fresh install so that it looks alive: ``python -m gpucloud_adapters.demo``.

Simulated hosts are enrolled by discovery over SSH, as an operator would; tenants sign up, get
credit and launch through the same use cases as everybody. Run again, it finds what is there and
adds nothing.
"""

import asyncio
import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import asyncssh
from dishka import AsyncContainer

from gpucloud_adapters.bootstrap import make_container
from gpucloud_adapters.credentials import BoxedCredentials
from gpucloud_adapters.demo_catalog import IMAGES, REGION, SKUS, price_of
from gpucloud_adapters.settings import Settings
from gpucloud_adapters.simulated.fleet_file import FILE_NAME, FleetHost, read_fleet
from gpucloud_core.access.model import Actor, PlatformRole, SessionKind, SshKey
from gpucloud_core.access.projects import ReadMe
from gpucloud_core.access.session_life import Client
from gpucloud_core.access.sessions import ResolveActor, SignOut
from gpucloud_core.access.sign_in import SignedIn, SignIn, SignUp, UsernameTaken
from gpucloud_core.access.ssh_keys import AddSshKey, ListSshKeys
from gpucloud_core.allocations.launch import LaunchAllocations, launch_once
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.request import LaunchRequest
from gpucloud_core.billing.goodwill import GOODWILL_MAX_MICROS, GiveGoodwill
from gpucloud_core.kernel.idempotency import IdempotencyKey
from gpucloud_core.kernel.ids import SkuId
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.nodes.discovery import read_topology
from gpucloud_core.nodes.model import NodeMode
from gpucloud_core.nodes.ports import NodeDriver
from gpucloud_core.placement.enroll import EnrollNode, NodeFacts

PRIVATE: Final = 0o600
HERE: Final = Client(ip="127.0.0.1", user_agent="demo", via="system")


@dataclass(frozen=True, slots=True, kw_only=True)
class Persona:
    """One account of the demo: what it may, has and runs."""

    username: str
    note: str = ""
    role: PlatformRole = PlatformRole.USER
    credits: int = 0  # times the most that is given at once
    runs: tuple[tuple[str, str, int], ...] = ()  # name, SKU and GPUs
    shown: bool = True  # its sign-in is printed


PERSONAS: Final = (
    Persona(
        username="demo",
        note="a tenant with credit and one machine",
        credits=1,
        runs=(("notebook", "h200-sxm", 1),),
    ),
    Persona(username="admin", note="the platform's own operator", role=PlatformRole.ADMIN),
    Persona(
        username="halden-labs",
        credits=20,
        runs=(
            ("sft-llama-70b", "h200-sxm", 8),
            ("eval-nightly", "h200-sxm", 2),
            ("pretrain-probe", "b200-sxm", 4),
            ("embed-archive", "a100-sxm", 4),
            ("moe-serving", "mi300x", 4),
        ),
        shown=False,
    ),
    Persona(
        username="northwind-bio",
        credits=20,
        runs=(
            ("fold-screening", "h200-sxm", 4),
            ("embed-index", "h200-sxm", 1),
            ("binder-design", "b200-sxm", 2),
            ("msa-search", "a100-sxm", 1),
            ("viewer-render", "l40s-pcie", 4),
            ("assistant-serving", "l40s-pcie", 2),
        ),
        shown=False,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """Puts everything in place through the container's use cases."""

    container: AsyncContainer
    home: Path

    async def seed(self) -> None:
        await self._catalog()
        await asyncio.gather(*map(self._enroll, read_fleet(self.home / FILE_NAME)))
        known, done = self._kept()
        for persona in PERSONAS:
            if persona.username in done:
                continue
            password = known.setdefault(persona.username, secrets.token_urlsafe(12))
            self._keep(known, done)  # before it is used: a run that is killed here goes on
            await self._arrive(persona, password)
            done.append(persona.username)
            self._keep(known, done)

    async def _catalog(self) -> None:
        transactions = await self.container.get(Transactions[AllocationUnit])
        async with transactions.begin(Scope.platform()) as unit:
            for image in IMAGES:
                if await unit.os_images.get(image.id) is None:
                    await unit.os_images.add(image)
            for sku in SKUS:
                if await unit.skus.get(sku.id) is None:
                    await unit.skus.add(sku)
                    await unit.prices.add(price_of(sku))

    async def _enroll(self, host: FleetHost) -> None:
        credentials = await self.container.get(BoxedCredentials)
        await credentials.keep(host.access.credential, host.private_key)
        transactions = await self.container.get(Transactions[AllocationUnit])
        async with transactions.begin(Scope.platform()) as unit:
            if await unit.nodes.count(name=host.name):
                return
        driver = await self.container.get(NodeDriver)
        discovered = read_topology((await driver.discover(host.access)).outputs)
        enroll = await self.container.get(EnrollNode)
        await enroll(
            NodeFacts(
                name=host.name,
                region=REGION,
                mode=NodeMode.CONTAINER,
                access=host.access,
                topology=discovered.topology,
                endpoints=[(host.slot_host, port) for port in host.slot_ports],
                shared_kernel=True,
                simulated=True,
            ),
            actor="demo",
        )

    async def _arrive(self, persona: Persona, password: str) -> None:
        made = await self._sign_in(persona, password)
        resolve = await self.container.get(ResolveActor)
        token = made.tokens.access_token
        actor = await resolve(token=token, kind=SessionKind.API, client=HERE)
        await self._promote(persona, actor)
        await self._fund(persona, actor)
        await self._run(persona, actor)
        await (await self.container.get(SignOut))(actor=actor)

    async def _sign_in(self, persona: Persona, password: str) -> SignedIn:
        """Sign up, or in if a run that was killed did so before."""
        try:
            return await (await self.container.get(SignUp))(
                username=persona.username, password=password, kind=SessionKind.API, client=HERE
            )
        except UsernameTaken:
            return await (await self.container.get(SignIn))(
                username=persona.username, password=password, kind=SessionKind.API, client=HERE
            )

    async def _promote(self, persona: Persona, actor: Actor) -> None:
        if persona.role is PlatformRole.USER or actor.user_id is None:
            return
        transactions = await self.container.get(Transactions[AllocationUnit])
        async with transactions.begin(Scope.platform()) as unit:
            user = await unit.users.lock(actor.user_id)
            if user is not None:
                await unit.users.put(replace(user, platform_role=persona.role))

    async def _fund(self, persona: Persona, actor: Actor) -> None:
        give = await self.container.get(GiveGoodwill)
        for number in range(persona.credits):
            key = IdempotencyKey.of(
                tenant_id=actor.tenant_id, route="demo", key=f"credit-{number}", body=b""
            )
            await give(
                actor=replace(actor, platform_role=PlatformRole.ADMIN, username="demo"),
                tenant_id=actor.tenant_id,
                micros=GOODWILL_MAX_MICROS,
                reason="Demo credit",
                idempotency=key,
            )

    async def _run(self, persona: Persona, actor: Actor) -> None:
        if not persona.runs:
            return
        key = await self._key(persona, actor)
        me = await (await self.container.get(ReadMe))(actor=actor)
        launch = await self.container.get(LaunchAllocations)
        for name, sku, gpus in persona.runs:
            run = partial(
                launch,
                actor=actor,
                project_id=me.projects[0].project.id,
                request=LaunchRequest(
                    sku_id=SkuId(sku), gpu_count=gpus, ssh_key_ids=(key.id,), name=name
                ),
            )
            once_only = IdempotencyKey.of(
                tenant_id=actor.tenant_id, route="demo", key=name, body=b""
            )
            await launch_once(once_only, run)

    async def _key(self, persona: Persona, actor: Actor) -> SshKey:
        """Return the persona's first key, made unless a run that was killed made it before."""
        known = await (await self.container.get(ListSshKeys))(actor=actor)
        if known.items:
            return known.items[-1]
        add = await self.container.get(AddSshKey)
        name = f"{persona.username}-demo"
        return await add(actor=actor, name=name, public_key=self._key_of(persona))

    def _key_of(self, persona: Persona) -> str:
        """Make a key pair; the private half is kept only where somebody may want to use it."""
        pair = asyncssh.generate_private_key("ssh-ed25519", comment=f"{persona.username}@demo")
        if persona.shown:
            _write_private(
                self.home / f"{persona.username}_ed25519", pair.export_private_key().decode()
            )
        return pair.export_public_key().decode()

    def _kept(self) -> tuple[dict[str, str], list[str]]:
        """Return the passwords made so far, and who has arrived with all they bring."""
        path = self.home / "demo.json"
        if not path.exists():
            return {}, []
        document = json.loads(path.read_text(encoding="utf-8"))
        return {row["username"]: row["password"] for row in document["all"]}, document["done"]

    def _keep(self, passwords: Mapping[str, str], done: Sequence[str]) -> None:
        shown = [
            {"username": p.username, "password": passwords[p.username], "note": p.note}
            for p in PERSONAS
            if p.shown and p.username in passwords
        ]
        everyone = [{"username": name, "password": word} for name, word in passwords.items()]
        document = {"sign_ins": shown, "all": everyone, "done": list(done)}
        _write_private(self.home / "demo.json", json.dumps(document, indent=1) + "\n")


def _write_private(path: Path, text: str) -> None:
    new = path.with_suffix(path.suffix + ".new")
    new.touch(mode=PRIVATE)
    new.chmod(PRIVATE)
    new.write_text(text, encoding="utf-8")
    new.replace(path)


async def seed(settings: Settings) -> None:
    """Seed the install that ``settings`` name."""
    async with AsyncExitStack() as stack:
        container = make_container(settings)
        stack.push_async_callback(container.close)
        await Demo(container=container, home=settings.home).seed()


if __name__ == "__main__":
    asyncio.run(seed(Settings.of(os.environ)))
    sys.exit(0)
