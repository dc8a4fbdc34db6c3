"""A program's journey over the JSON API, onto a real slice: OpenSSH in front, runc behind.

The customer is OpenSSH's own client with their own key. Seen to fail when release left the
slice's server running, when the meter ran on to the end of the wipe instead of the request, and
when the slice was given all of its node's devices.
"""

import asyncio
import re
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from gpucloud_adapters.bootstrap import make_container
from gpucloud_adapters.credentials import BoxedCredentials
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.catalog.model import OsImage, Price, Runtime, Shape, Sku
from gpucloud_core.kernel.ids import ImageId, SkuId, entity_id
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.placement.capacity import capacity_of
from world.nodes import SLOT_MEMORY_MIB, RealNode, real_node
from world.running_cloud import RunningCloud

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(240)]

SKU = SkuId("stand-in")
IMAGE = ImageId(entity_id("img", 9001))
RATE = 7_200_000
PATIENCE = 40.0


@pytest.fixture(scope="module")
def node(real_parts: dict[str, str]) -> Iterator[RealNode]:
    for part, command in (("OpenSSH", ["ssh", "-V"]), ("runc", ["runc", "--version"])):
        said = subprocess.run(command, capture_output=True, text=True, check=True)
        found = re.search(r"(\d+\.\d+[.\w]*)", said.stdout + said.stderr)
        real_parts[part] = found.group(1) if found else "present"
    with real_node(gpus=4, images=[IMAGE]) as world:
        yield world


@pytest.fixture
async def sold(cloud: RunningCloud, node: RealNode) -> None:
    """Put the real node into the running platform's fleet, and its slices into the catalog."""
    settings = cloud.settings
    container = make_container(settings)
    credential = node.node.access.credential
    await (await container.get(BoxedCredentials)).keep(credential, node.keys[credential])
    transactions = await container.get(Transactions[AllocationUnit])
    now = datetime.now(UTC) - timedelta(days=1)
    async with transactions.begin(Scope.platform()) as unit:
        await unit.os_images.add(
            OsImage(
                id=IMAGE,
                name="Debian",
                runtime=Runtime.CONTAINER,
                version="12",
                username="ubuntu",
                created_at=now,
            )
        )
        await unit.skus.add(
            Sku(
                id=SKU,
                display_name="Stand-in",
                vendor="None",
                gpu_model=node.node.topology.gpus[0].model,
                gpu_memory_mib=1024,
                shape=Shape.GPU_SLICE,
                runtime=Runtime.CONTAINER,
                region=node.node.region,
                allowed_gpu_counts=(1, 2),
                vcpus_per_gpu=1,
                memory_mib_per_gpu=SLOT_MEMORY_MIB,
                image_ids=(IMAGE,),
                created_at=now,
            )
        )
        await unit.prices.add(
            Price(
                id=f"{SKU}/first",
                sku_id=SKU,
                micros_per_gpu_hour=RATE,
                currency="USD",
                starts_at=now,
            )
        )
        await unit.nodes.add(node.node)
        for slot in node.slots:
            await unit.slots.add(slot)
        await unit.fleet.put(capacity_of(node.node, node.slots))
    await container.close()


@dataclass
class Program:
    """A client of the API with a key pair of its own."""

    http: httpx.AsyncClient
    folder: Path

    async def ask(self, method: str, path: str, **more: Any) -> Any:
        answer = await self.http.request(method, path, **more)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    async def until(self, path: str, field: str, *ends: str) -> Any:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if (found := await self.ask("GET", path))[field] in ends:
                return found
            await asyncio.sleep(0.2)
        raise AssertionError(f"{path} stays {found[field]}: {found}")

    def new_key(self) -> str:
        path = self.folder / "id"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
        return path.with_suffix(".pub").read_text()

    def ssh(self, connection: Any, *command: str) -> "subprocess.CompletedProcess[str]":
        """Go in as the customer does, trusting only the host key that the API told."""
        known = self.folder / "known_hosts"
        known.write_text(f"{connection['host']} {connection['host_key']}\n")
        options = ("BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={known}")
        words = connection["ssh_command"].split()
        return subprocess.run(
            [
                "ssh",
                *("-i", str(self.folder / "id"), "-F", "none", "-o", "ConnectTimeout=5"),
                *(word for option in options for word in ("-o", option)),
                *words[1:],
                *command,
            ],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )


@pytest.fixture
async def program(cloud: RunningCloud, sold: None, tmp_path: Path) -> AsyncIterator[Program]:
    async with httpx.AsyncClient(base_url=f"{cloud.url}/api/v1", timeout=30) as http:
        signed_up = await http.post(
            "/auth/personal/signup",
            json={"username": f"prog-{time.time_ns()}", "password": "a long enough phrase"},
        )
        http.headers["Authorization"] = f"Bearer {signed_up.json()['access_token']}"
        yield Program(http, tmp_path)


async def pay(program: Program, dollars: int) -> None:
    """Pay on the provider's page, as a browser's form would."""
    body = {"amount_micros": dollars * 1_000_000, "currency": "USD"}
    session = await program.ask("POST", "/payments/checkout-session", json=body)
    card = {"number": "4242424242424242", "expiry": "12/34", "cvc": "123", "name": "A Program"}
    async with httpx.AsyncClient() as browser:
        paid = await browser.post(session["url"], data=card)
    assert paid.status_code == 303, paid.text
    await program.until(f"/payments/checkout-session/{session['id']}", "status", "completed")


def micros_between(start: str, end: str) -> int:
    elapsed = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    return elapsed // timedelta(microseconds=1)


class TestJourney:
    async def test_reaches_a_real_slice_and_gives_it_back(
        self, program: Program, node: RealNode
    ) -> None:
        await pay(program, 20)
        key = {"name": "id", "public_key": program.new_key()}
        key_id = (await program.ask("POST", "/ssh-keys", json=key))["id"]
        accepted = await program.ask(
            "POST",
            "/allocations",
            json={"sku": SKU, "gpu_count": 2, "ssh_key_ids": [key_id]},
            headers={"Idempotency-Key": "launch"},
        )
        task = await program.until(
            f"/tasks/{accepted['task_id']}", "status", "succeeded", "failed", "cancelled"
        )
        assert task["status"] == "succeeded", task
        path = f"/allocations/{accepted['allocations'][0]['id']}"
        allocation = await program.ask("GET", path)
        here = allocation["connection"]

        self._sees_only_its_own(program, here, allocation)
        self._is_held_to_its_limits(program, here)

        released = await program.ask(
            "POST", f"{path}/release", headers={"Idempotency-Key": "release"}
        )
        assert released["status"] == "releasing"
        assert released["billing_stopped_at"] == released["release_requested_at"]
        ended = await program.until(path, "status", "released", "release_failed")
        assert ended["status"] == "released", ended
        assert program.ssh(here, "true").returncode != 0, "cut off"
        assert node.cgroups() == []

        await self._paid_the_closed_form(program, path, ended)

    def _sees_only_its_own(self, program: Program, here: Any, allocation: Any) -> None:
        inside = program.ssh(here, "id -un; ls /dev | grep nvidia; ps -eo comm=")
        assert inside.returncode == 0, inside.stderr
        user, *lines = inside.stdout.split()
        assert user == "ubuntu"
        devices = {line for line in lines if re.fullmatch(r"nvidia\d+", line)}
        assert devices == {f"nvidia{gpu['index']}" for gpu in allocation["gpus"]}
        assert len([line for line in lines if "nvidia" not in line]) < 12, "its own processes"

    def _is_held_to_its_limits(self, program: Program, here: Any) -> None:
        greedy = (
            f"head -c {3 * SLOT_MEMORY_MIB}M /dev/zero | tail -c {3 * SLOT_MEMORY_MIB}M | wc -c"
        )
        taken = program.ssh(here, greedy)
        assert taken.stdout.strip() != str(3 * SLOT_MEMORY_MIB * 1024 * 1024)

    async def _paid_the_closed_form(self, program: Program, path: str, ended: Any) -> None:
        elapsed = micros_between(ended["active_at"], ended["billing_stopped_at"])
        exact = 2 * RATE * elapsed // 3_600_000_000
        receipt = await program.ask("GET", f"{path}/receipt")
        assert receipt["cost_micros"] == ended["cost_micros"] == exact
        assert receipt["wipe"]["evidence"]["device_serials"]
        assert receipt["capacity_free_at"]
        usage = await program.ask("GET", "/billing/usage")
        assert sum(row["cost_micros"] for row in usage["items"]) == exact
        ledger = await program.ask("GET", "/billing/ledger", params={"limit": 100})
        charged = [-row["entries"]["prepaid"] for row in ledger["items"] if row["kind"] == "usage"]
        assert sum(charged) == exact
        balance = await program.ask("GET", "/billing/balance")
        assert balance["available_micros"] == 20_000_000 - exact
