"""What must be so of the records that are kept: notices, attention rows and the audit trail."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from gpucloud_adapters.memory.simulation.invariants import Breach
from gpucloud_core.allocations.actions import WORKER
from gpucloud_core.allocations.model import Allocation, AllocationState, StateChange
from gpucloud_core.audit.chain import Anchor, ChainHead
from gpucloud_core.audit.verify import ChainCheck, link_of
from gpucloud_core.kernel.audit import AuditRow
from gpucloud_core.kernel.ids import TenantId
from gpucloud_core.kernel.unit import Event
from gpucloud_core.nodes.model import Slot, SlotState
from gpucloud_core.notices.machine_rules import DEGRADED, RELEASE_FAILED
from gpucloud_core.notices.model import AttentionRow, InboxNotice
from gpucloud_core.notices.overdue import CLEANUP_BLOCKED

S = AllocationState


def told_once(
    allocations: Iterable[Allocation],
    notices: Collection[InboxNotice],
    events: Iterable[Event],
) -> Iterator[Breach]:
    """A launch that failed is told once, one that is ready at most once, an end of money once."""
    told = Counter((notice.kind, notice.link, notice.user_id) for notice in notices)
    for allocation in allocations:
        link, reader = f"/workloads/{allocation.id}", allocation.user_id
        if told["allocation.active", link, reader] > 1:
            yield Breach("notices", allocation.id, "it was said more than once that it is ready")
        times = told["allocation.failed", link, reader]
        if times != (allocation.state is S.FAILED):
            yield Breach("notices", allocation.id, f"{allocation.state}: told {times} times")
    yield from _ends_told_once(notices, events)


def _ends_told_once(notices: Iterable[InboxNotice], events: Iterable[Event]) -> Iterator[Breach]:
    """Each level of each depletion is said once, however often the end is announced."""
    said: Counter[tuple[str, str, str]] = Counter()
    ends: dict[str, set[str]] = {}
    for event in events:
        tenant = str(event.tenant_id)
        if event.kind == "billing.notice":
            level, at = event.payload.get("level"), event.payload.get("depletes_at")
            said[tenant, str(level), str(at)] += 1
        elif event.kind == "billing.depleted":
            ends.setdefault(tenant, set()).add(repr(event.payload.get("allocations")))
    for (tenant, level, at), times in said.items():
        if times > 1:
            yield Breach("notices", tenant, f"{level} before {at} was said {times} times")
    told = Counter(notice.tenant_id for notice in notices if notice.kind == "billing.depleted")
    for tenant in sorted(ends.keys() | told.keys()):
        if told[TenantId(tenant)] != len(ends.get(tenant, ())):
            found = f"{len(ends.get(tenant, ()))} ends were told {told[TenantId(tenant)]} times"
            yield Breach("notices", tenant, found)


def attention_is_true(
    rows: Iterable[AttentionRow], allocations: Iterable[Allocation], slots: Iterable[Slot]
) -> Iterator[Breach]:
    """I11, after a sweep: what wants somebody has exactly one open row, and nothing else has."""
    wanted: set[tuple[str, str]] = {
        (kind, allocation.id)
        for allocation in allocations
        for kind, state in ((DEGRADED, S.DEGRADED), (RELEASE_FAILED, S.RELEASE_FAILED))
        if allocation.state is state
    }
    wanted |= {
        (CLEANUP_BLOCKED, slot.id) for slot in slots if slot.state is SlotState.CLEANUP_BLOCKED
    }
    kinds = {DEGRADED, RELEASE_FAILED, CLEANUP_BLOCKED}
    is_open = Counter((row.kind, row.subject) for row in rows if row.cleared_at is None)
    for key in sorted({key for key in is_open if key[0] in kinds} | wanted):
        if is_open[key] != (key in wanted):
            yield Breach("I11", key[1], f"{is_open[key]} open rows say {key[0]}")


def chain_holds(
    rows: Iterable[AuditRow], head: ChainHead | None, anchors: Iterable[Anchor]
) -> Iterator[Breach]:
    """I15: the audit chain verifies, through every anchor, and nothing is left unsealed."""
    check = ChainCheck(anchors)
    for row in sorted(rows, key=lambda row: (row.seq is None, row.seq or 0)):
        check.take(link_of(row))
    verdict = check.finish(head)
    if verdict.fault is not None:
        yield Breach("I15", verdict.fault.row_id or "chain", verdict.fault.words)
    if verdict.unsealed:
        yield Breach("I15", "chain", f"{verdict.unsealed} rows are not sealed")


def people_are_recorded(
    changes: Iterable[StateChange], recorded: Iterable[AuditRow]
) -> Iterator[Breach]:
    """I15: whatever a person moved has its audit row in the same transaction."""
    names = {row.actor for row in recorded}
    for change in changes:
        if change.actor not in names | {WORKER}:
            found = f"{change.actor} made it {change.state}, and no audit row says so"
            yield Breach("I15", change.allocation_id, found)
