"""What the allocation routes read and answer."""

from datetime import datetime
from typing import Final

import msgspec

from gpucloud_core.allocations.briefs import AllocationBrief
from gpucloud_core.allocations.launch import Accepted
from gpucloud_core.allocations.lifecycle import PublicStatus
from gpucloud_core.allocations.model import EndOfBalance, InboundRule, Network
from gpucloud_core.allocations.queries import AllocationView, Receipt
from gpucloud_core.allocations.quote import Quote
from gpucloud_core.allocations.reasons import REASONS
from gpucloud_core.allocations.request import LaunchRequest
from gpucloud_core.kernel.unit import Json
from gpucloud_core.nodes.model import Gpu, Nvme, data_targets
from gpucloud_core.placement.model import Spread, Within
from gpucloud_web.api.timers import TimerBody

SSH_PORT: Final = 22


class InboundBody(msgspec.Struct, forbid_unknown_fields=True):
    """A port opened besides SSH, and who may reach it; no sources means anywhere."""

    port: int
    cidrs: list[str] = []


class NetworkBody(msgspec.Struct, forbid_unknown_fields=True):
    """Who may reach SSH (no sources means anywhere), and which ports are open besides."""

    ssh_cidrs: list[str] = []
    inbound: list[InboundBody] = []


class LaunchBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What to launch. ``count`` machines of ``gpu_count`` GPUs each.

    ``together`` has them share one fate and one fabric, as near to each other as there is room;
    ``within`` refuses what would be farther apart than a group (one leaf, one rail group) or a pod.
    """

    sku: str
    gpu_count: int
    count: int = 1
    spread: Spread = Spread.ANY
    together: bool = False
    within: Within = Within.FABRIC
    image_id: str | None = None
    ssh_key_ids: list[str] = []
    name: str | None = None
    region: str | None = None
    network: NetworkBody | None = None
    end_of_balance: EndOfBalance = EndOfBalance.RELEASE
    ttl_seconds: int | None = None

    def request(self) -> LaunchRequest:
        network = self.network or NetworkBody()
        return LaunchRequest(
            sku_id=self.sku,
            gpu_count=self.gpu_count,
            count=self.count,
            spread=self.spread,
            together=self.together,
            within=self.within,
            image_id=self.image_id,
            ssh_key_ids=tuple(self.ssh_key_ids),
            name=self.name,
            region=self.region,
            network=Network(
                ssh_cidrs=tuple(network.ssh_cidrs),
                inbound=tuple(
                    InboundRule(port=rule.port, cidrs=tuple(rule.cidrs)) for rule in network.inbound
                ),
            ),
            end_of_balance=self.end_of_balance,
            ttl_seconds=self.ttl_seconds,
        )


class AcceptedAllocation(msgspec.Struct):
    id: str
    status: str


class AcceptedBody(msgspec.Struct):
    """The task to follow, and each machine's allocation."""

    task_id: str
    allocations: list[AcceptedAllocation]

    @classmethod
    def of(cls, accepted: Accepted) -> "AcceptedBody":
        made = [AcceptedAllocation(each, status) for each, status in accepted.allocations]
        return cls(accepted.task_id, made)


class CheckBody(msgspec.Struct):
    code: str
    ok: bool
    detail: str


class QuoteBody(msgspec.Struct):
    """A dry run's verdict (``ok`` or ``refused``), with every check and the price."""

    verdict: str
    checks: list[CheckBody]
    price_micros_per_hour: int
    hold_micros: int
    currency: str
    depletes_at: datetime | None

    @classmethod
    def of(cls, quote: Quote) -> "QuoteBody":
        return cls(
            verdict="ok" if quote.ok else "refused",
            checks=[CheckBody(check.code, check.ok, check.detail) for check in quote.checks],
            price_micros_per_hour=quote.price_micros_per_hour,
            hold_micros=quote.hold_micros,
            currency=quote.currency,
            depletes_at=quote.depletes_at,
        )


class NodeBody(msgspec.Struct):
    name: str
    region: str


class GpuBody(msgspec.Struct):
    index: int
    uuid: str
    model: str
    numa: int

    @classmethod
    def of(cls, gpu: Gpu) -> "GpuBody":
        return cls(gpu.index, gpu.uuid, gpu.model, gpu.numa)


class DataDiskBody(msgspec.Struct):
    """A local disk of its own, mounted in ``folder``; it is erased at the release."""

    name: str
    folder: str
    size_bytes: int
    model: str

    @classmethod
    def of(cls, disks: tuple[Nvme, ...]) -> "list[DataDiskBody]":
        folders = data_targets([disk.name for disk in disks])
        return [cls(each.name, folders[each.name], each.size_bytes, each.model) for each in disks]


class ConnectionBody(msgspec.Struct):
    host: str
    port: int
    username: str
    ssh_command: str
    host_key: str
    host_key_fingerprint: str


class KeyBody(msgspec.Struct):
    id: str
    name: str
    fingerprint: str
    applied_at: datetime | None


class ReasonBody(msgspec.Struct):
    """Why it failed: a code, words, what happened to the money, what to do."""

    code: str
    words: str
    money: str
    next_action: str
    retryable: bool


class AllocationBody(msgspec.Struct, kw_only=True):
    id: str
    name: str
    status: str
    shape: str
    sku: str
    gpu_count: int
    project_id: str
    task_id: str
    node: NodeBody
    gpus: list[GpuBody]
    data_disks: list[DataDiskBody]
    why_here: list[str]
    connection: ConnectionBody | None
    ssh_keys: list[KeyBody]
    failure_reason: str | None
    release_failed_reason: str | None
    reason: ReasonBody | None
    requested_at: datetime
    active_at: datetime | None
    release_requested_at: datetime | None
    billing_stopped_at: datetime | None
    released_at: datetime | None
    rate_micros_per_hour: int
    cost_micros: int
    currency: str
    end_of_balance: str
    timer: TimerBody
    as_of: datetime

    @classmethod
    def of(cls, view: AllocationView) -> "AllocationBody":
        row = view.allocation
        reason = REASONS.get(row.release_failed_reason or row.failure_reason or "")
        return cls(
            id=row.id,
            name=row.name,
            status=view.status,
            shape=row.shape,
            sku=row.sku_id,
            gpu_count=row.gpu_count,
            project_id=row.project_id,
            task_id=row.task_id,
            node=NodeBody(view.node.name, view.node.region),
            gpus=[GpuBody.of(gpu) for gpu in view.gpus],
            data_disks=DataDiskBody.of(view.disks),
            why_here=list(view.why_here),
            connection=connection_body(view),
            ssh_keys=[KeyBody(k.id, k.name, k.fingerprint, k.applied_at) for k in row.keys],
            failure_reason=row.failure_reason,
            release_failed_reason=row.release_failed_reason,
            reason=ReasonBody(
                reason.code, reason.words, reason.money, reason.next_action, reason.retryable
            )
            if reason
            else None,
            requested_at=row.requested_at,
            active_at=row.active_at,
            release_requested_at=row.release_requested_at,
            billing_stopped_at=row.billing_stopped_at,
            released_at=row.ended_at if view.status is PublicStatus.RELEASED else None,
            rate_micros_per_hour=row.rate_micros_per_hour,
            cost_micros=view.cost_micros,
            currency=row.currency,
            end_of_balance=row.end_of_balance,
            timer=TimerBody.of(row),
            as_of=view.as_of,
        )


def connection_body(view: AllocationView) -> ConnectionBody | None:
    found = view.allocation.connection
    if found is None:
        return None
    port = "" if found.port == SSH_PORT else f"-p {found.port} "
    return ConnectionBody(
        host=found.host,
        port=found.port,
        username=found.username,
        ssh_command=f"ssh {port}{found.username}@{found.host}",
        host_key=found.host_key,
        host_key_fingerprint=found.host_key_fingerprint,
    )


class AllocationItem(msgspec.Struct):
    """One row of the list."""

    id: str
    name: str
    status: str
    shape: str
    sku: str
    gpu_count: int
    project_id: str
    task_id: str
    node: str
    region: str
    step: str
    requested_at: datetime
    active_at: datetime | None
    billing_stopped_at: datetime | None
    failure_reason: str | None
    release_failed_reason: str | None
    rate_micros_per_hour: int
    cost_micros: int
    currency: str

    @classmethod
    def of(cls, brief: AllocationBrief) -> "AllocationItem":
        return cls(*brief)


class WipeBody(msgspec.Struct):
    method: str | None
    verified_at: str | None
    evidence: dict[str, object] | None


class ReceiptBody(msgspec.Struct, kw_only=True):
    """Proof that the meter stopped, and that nothing was left. Parts not there yet are null."""

    allocation_id: str
    release_requested_at: datetime | None
    billing_stopped_at: datetime | None
    billed_seconds: int
    cost_micros: int
    currency: str
    wipe: WipeBody
    capacity_free_at: datetime | None

    @classmethod
    def of(cls, receipt: Receipt) -> "ReceiptBody":
        row = receipt.allocation
        wipe = row.receipt.get("wipe")
        facts: dict[str, Json] = wipe if isinstance(wipe, dict) else {}
        method, verified_at = facts.get("method"), facts.get("verified_at")
        return cls(
            allocation_id=row.id,
            release_requested_at=row.release_requested_at,
            billing_stopped_at=row.billing_stopped_at,
            billed_seconds=receipt.billed_seconds,
            cost_micros=receipt.cost_micros,
            currency=row.currency,
            wipe=WipeBody(
                method=str(method) if method else None,
                verified_at=str(verified_at) if verified_at else None,
                evidence=dict(facts) or None,
            ),
            capacity_free_at=row.ended_at,
        )
