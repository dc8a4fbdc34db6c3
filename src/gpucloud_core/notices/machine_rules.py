"""What events of machines tell: whoever launched one, and whoever runs the fleet."""

from collections.abc import Mapping
from typing import Final

from gpucloud_core.allocations.model import Allocation
from gpucloud_core.kernel.unit import Event
from gpucloud_core.notices.model import NoticeLevel, Severity
from gpucloud_core.notices.told import (
    NOTHING,
    Clear,
    Known,
    Raise,
    Rule,
    Told,
    explained,
    to_launcher,
)

RELEASE_FAILED: Final = "allocation.release_failed"
DEGRADED: Final = "allocation.degraded"
FAILING_NODE: Final = "node.failing"
_OF_THE_NODE: Final = {
    "node_unreachable": Severity.WARNING,
    "node_refused": Severity.WARNING,
    "health_gate_failed": Severity.WARNING,
    "host_key_changed": Severity.CRITICAL,
}


def _active(event: Event, known: Known) -> Told:
    allocation = known.allocation
    cleared = (Clear(kind=DEGRADED, subject=event.subject),)
    if allocation is None or allocation.active_at != allocation.state_since:
        return Told(clears=cleared)  # it was active before
    title = f"{allocation.name} is ready"
    text = "You can log in, and it is billed from now on."
    return Told(notices=(to_launcher(allocation, event, NoticeLevel.GOOD, title, text),))


def _failed(event: Event, known: Known) -> Told:
    allocation = known.allocation
    if allocation is None:
        return NOTHING
    code = allocation.failure_reason or "launch_failed"
    title = f"{allocation.name} could not be started"
    draft = to_launcher(allocation, event, NoticeLevel.BAD, title, explained(code))
    if code not in _OF_THE_NODE:
        return Told(notices=(draft,))
    raised = Raise(
        kind=FAILING_NODE,
        subject=allocation.node_id,
        severity=_OF_THE_NODE[code],
        title="A launch failed on this node",
        facts={"reason": code, "allocation_id": allocation.id},
    )
    return Told(notices=(draft,), raises=(raised,))


def _release_failed(event: Event, known: Known) -> Told:
    allocation = known.allocation
    if allocation is None:
        return NOTHING
    code = allocation.release_failed_reason or "release_failed"
    title = f"{allocation.name} could not be released cleanly"
    draft = to_launcher(allocation, event, NoticeLevel.WARNING, title, explained(code))
    return Told(notices=(draft,), raises=(release_failed(allocation),))


def release_failed(allocation: Allocation) -> Raise:
    return Raise(
        kind=RELEASE_FAILED,
        subject=allocation.id,
        severity=Severity.CRITICAL,
        title="A release failed; its capacity stays fenced",
        facts={
            "reason": allocation.release_failed_reason,
            "node_id": allocation.node_id,
            "claim_id": allocation.claim_id,
            "tenant_id": allocation.tenant_id,
        },
    )


def _degraded(event: Event, known: Known) -> Told:
    allocation = known.allocation
    if allocation is None:
        return NOTHING
    title = f"{allocation.name} does not work"
    text = "Something on our side broke. It is not billed from that moment on; we look at it."
    draft = to_launcher(allocation, event, NoticeLevel.BAD, title, text)
    return Told(notices=(draft,), raises=(degraded(allocation),))


def degraded(allocation: Allocation) -> Raise:
    return Raise(
        kind=DEGRADED,
        subject=allocation.id,
        severity=Severity.CRITICAL,
        title="A tenant's machine does not work, by our own evidence",
        facts={"node_id": allocation.node_id, "tenant_id": allocation.tenant_id},
    )


def _over(event: Event, _: Known) -> Told:
    kinds = (RELEASE_FAILED, DEGRADED)
    return Told(clears=tuple(Clear(kind=kind, subject=event.subject) for kind in kinds))


MACHINE_RULES: Final[Mapping[str, Rule]] = {
    "allocation.active": _active,
    "allocation.failed": _failed,
    RELEASE_FAILED: _release_failed,
    DEGRADED: _degraded,
    "allocation.released": _over,
    "allocation.cancelled": _over,
}
