"""What the steps of an allocation's tasks do: to its node, and then to its rows.

Every step reads what it needs in a short unit of its own, calls the node outside any transaction,
and leaves what its success means to the transaction that completes it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Final

from gpucloud_core.allocations import faults, gang, reasons
from gpucloud_core.allocations.apply import Cause, advance, lock_allocation
from gpucloud_core.allocations.batch import child_finished
from gpucloud_core.allocations.errors import HealthGateFailed, KeysNotApplied, WipeUnproven
from gpucloud_core.allocations.lifecycle import LIFECYCLE, AllocationEvent
from gpucloud_core.allocations.model import Allocation, AllocationState, Connection
from gpucloud_core.allocations.place import Placed, place_in, slice_spec
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.proof import (
    handover_findings,
    is_late_enough,
    redated,
    wipe_objection,
)
from gpucloud_core.allocations.saga import PROVISION, RELEASE
from gpucloud_core.kernel.errors import IllegalTransition, NotFound
from gpucloud_core.kernel.ids import AllocationId, Ids
from gpucloud_core.kernel.time import rfc3339
from gpucloud_core.kernel.unit import Json, Scope, Transactions
from gpucloud_core.nodes.model import WipeEvidence
from gpucloud_core.nodes.ports import NodeDriver
from gpucloud_core.work.model import Step, Task, TaskStatus
from gpucloud_core.work.plan import Finish, Saga
from gpucloud_core.work.turn import OutOfTime

WORKER: Final = "gpucloud"  # who moved it, in a timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class OnNode:
    """What both kinds of task share: ports, locks, and reading the place."""

    transactions: Transactions[AllocationUnit]
    driver: NodeDriver
    ids: Ids

    async def lock(self, unit: AllocationUnit, task: Task) -> None:
        await lock_allocation(unit, task.tenant_id, AllocationId(task.subject))

    async def held_back(self, unit: AllocationUnit, task: Task, step: str) -> str:
        return ""

    async def is_late(self, unit: AllocationUnit, task: Task) -> bool:
        """Hold the limit of the allocation's state: a failure past it is the last."""
        allocation = await unit.allocations.get(AllocationId(task.subject))
        if allocation is None:
            return False
        now = await unit.now()
        return bool(LIFECYCLE.overdue(allocation.state, allocation.state_since, now))

    async def _place(self, task: Task) -> Placed:
        async with self.transactions.begin(Scope.platform()) as unit:
            return await place_in(unit, task)

    async def _place_in_time(self, task: Task) -> Placed:
        """Read the place, and see to the time as ``_in_time`` does."""
        async with self.transactions.begin(Scope.platform()) as unit:
            await self._see_to_time(unit, task)
            return await place_in(unit, task)

    async def _in_time(self, task: Task) -> None:
        """See that the allocation's state has not outlived its limit.

        Raises:
            OutOfTime: it has, as where no worker was there for long.
        """
        async with self.transactions.begin(Scope.platform()) as unit:
            await self._see_to_time(unit, task)

    async def _see_to_time(self, unit: AllocationUnit, task: Task) -> None:
        if await self.is_late(unit, task):
            raise OutOfTime("Nobody got to it in time.")

    async def _allocation(self, unit: AllocationUnit, task: Task) -> Allocation:
        allocation = await unit.allocations.lock(task.subject)
        if allocation is None:
            raise NotFound("The task's allocation is gone.")
        return allocation

    async def _apply_keys(self, placed: Placed) -> Mapping[str, Json]:
        """Let exactly the allocation's keys in, and read them back."""
        keys = placed.allocation.keys
        lines = tuple(key.public_key for key in keys)
        async with faults.APPLY_KEYS:
            read_back = await self.driver.set_keys(placed.access, placed.allocation.claim_id, lines)
        if set(read_back) != {key.fingerprint for key in keys}:
            raise KeysNotApplied
        return {"applied": " ".join(sorted(read_back))}

    async def _keys_applied(self, unit: AllocationUnit, task: Task, step: Step) -> None:
        """Stamp the keys that were read back; one that was chosen meanwhile stays without."""
        allocation = await self._allocation(unit, task)
        now, applied = await unit.now(), set(str(step.result.get("applied", "")).split())
        keys = tuple(
            replace(key, applied_at=key.applied_at or now) if key.fingerprint in applied else key
            for key in allocation.keys
        )
        await unit.allocations.put(replace(allocation, keys=keys))

    async def _wipe(self, placed: Placed, *, not_before: datetime | None = None) -> str:
        """Wipe, check the proof against this claim, and return it as JSON.

        The proof may not be older than ``not_before``, or than the end of the customer's time in
        it; where there was none, as in a launch that failed, than the request. If it looks older,
        the node is asked what its clock shows: one that is slow proves as well as another.
        """
        allocation = placed.allocation
        async with faults.WIPE:
            evidence = await self.driver.wipe(
                placed.access, allocation.claim_id, placed.gpu_uuids, placed.disks
            )
        since = not_before or _left_at(allocation)
        if not is_late_enough(evidence, since):
            evidence = await self._by_our_clock(placed, evidence)
        objection = wipe_objection(
            evidence,
            claim_id=allocation.claim_id,
            gpu_count=allocation.gpu_count,
            not_before=since,
            disks=placed.disks,
        )
        if objection is not None:
            raise WipeUnproven(f"The wipe is not proven: {objection}.")
        return json.dumps(
            {
                "claim_id": evidence.claim_id,
                "method": evidence.method,
                "verified_at": rfc3339(evidence.at),
                "device_serials": list(evidence.device_serials),
                "command_hash": evidence.command_hash,
                "random_reads": [list(pair) for pair in evidence.random_reads],
                **({"disks": [asdict(disk) for disk in evidence.disks]} if placed.disks else {}),
            }
        )

    async def _by_our_clock(self, placed: Placed, evidence: WipeEvidence) -> WipeEvidence:
        async with faults.PROBE:
            report = await self.driver.probe(placed.access)
        async with self.transactions.begin(Scope.platform()) as unit:
            now = await unit.now()
        return redated(evidence, node_clock=report.clock, now=now)

    async def _verify_clean(self, placed: Placed) -> None:
        claim_id = placed.allocation.claim_id
        async with faults.VERIFY_CLEAN:
            found = await self.driver.verify_clean(
                placed.access, claim_id, placed.gpu_uuids, placed.disks
            )
        if found:
            raise WipeUnproven(f"The node still has {', '.join(found[:5])} of this claim.")
        async with faults.PROBE:
            report = await self.driver.probe(placed.access)
        if missing := set(placed.gpu_uuids) - set(report.gpu_uuids):
            raise WipeUnproven(f"{len(missing)} of its GPUs are missing on the node.")

    async def _verify(self, placed: Placed) -> Mapping[str, Json]:
        """Compare what the slice is with what it must be: the health gate."""
        allocation = placed.allocation
        async with faults.VERIFY:
            evidence = await self.driver.verify(placed.access, allocation.claim_id)
        findings = handover_findings(
            evidence,
            gpu_uuids=placed.gpu_uuids,
            fingerprints=tuple(key.fingerprint for key in allocation.keys),
            ssh_cidrs=allocation.network.ssh_cidrs,
            disks=placed.disks,
            nics=placed.nics,
        )
        if failed := [finding for finding in findings if not finding.ok]:
            said = "; ".join(f"{finding.name}: {finding.detail}" for finding in failed)
            raise HealthGateFailed(f"Not fit to hand over: {said}.")
        return {"passed": len(findings), "checks": len(findings)}


def _left_at(allocation: Allocation) -> datetime:
    """Return when the customer left the slice, or asked for one and never got it."""
    if allocation.active_at is None or allocation.release_requested_at is None:
        return allocation.requested_at
    return allocation.release_requested_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Provision(OnNode):
    """Make a slice and hand it over, or leave nothing behind."""

    saga: Saga = PROVISION

    def intent(self, task: Task, step: str) -> str:
        return f"slice of {task.subject}" if step == "create" else ""

    async def held_back(self, unit: AllocationUnit, task: Task, step: str) -> str:
        return await gang.held_back(unit, task, step)

    async def step_begun(self, unit: AllocationUnit, task: Task, step: str) -> None:
        if step != "check_node":
            return
        allocation = await self._allocation(unit, task)
        if allocation.state is not AllocationState.REQUESTED:
            return
        now = await unit.now()
        if not LIFECYCLE.overdue(allocation.state, allocation.state_since, now):
            cause = Cause(actor=WORKER, at=now, reason="A worker took it up.")
            await advance(unit, self.ids, allocation, AllocationEvent.PROVISION, cause)

    async def do(self, task: Task, step: Step) -> Mapping[str, Json]:
        """Do it in time: nobody wants, and pays for, what they asked for hours ago."""
        match step.key:
            case "check_node":
                return await self._check_node(await self._place_in_time(task))
            case "create":
                return await self._create(await self._place_in_time(task), task.generation)
            case "apply_keys":
                return await self._apply_keys(await self._place_in_time(task))
            case "verify":
                return await self._verify(await self._place_in_time(task))
            case gang.LAST if task.data.get(gang.NAME) is not None:
                return {}  # together, or not at all
            case _:
                await self._in_time(task)
                return {}

    async def _check_node(self, placed: Placed) -> Mapping[str, Json]:
        async with faults.CHECK_NODE:
            report = await self.driver.probe(placed.access)
        missing = set(placed.gpu_uuids) - set(report.gpu_uuids)
        if missing or report.problems:
            said = "; ".join(report.problems) or f"{len(missing)} of the GPUs do not answer"
            raise HealthGateFailed(f"The node is not fit: {said}.")
        return {"gpus": len(placed.gpu_uuids), "driver_version": report.driver_version}

    async def _create(self, placed: Placed, generation: int) -> Mapping[str, Json]:
        async with faults.CREATE:
            endpoint = await self.driver.provision(placed.access, slice_spec(placed, generation))
        return {
            "host": endpoint.host,
            "port": endpoint.port,
            "username": endpoint.username,
            "host_key": endpoint.host_key,
            "host_key_fingerprint": endpoint.host_key_fingerprint,
        }

    async def step_done(self, unit: AllocationUnit, task: Task, step: Step) -> None:
        match step.key:
            case "create":
                allocation, made = await self._allocation(unit, task), step.result
                await unit.allocations.put(
                    replace(
                        allocation,
                        connection=Connection(
                            host=str(made["host"]),
                            port=int(str(made["port"])),
                            username=str(made["username"]),
                            host_key=str(made["host_key"]),
                            host_key_fingerprint=str(made["host_key_fingerprint"]),
                        ),
                    )
                )
            case "apply_keys":
                await self._keys_applied(unit, task, step)
            case "verify":
                await gang.wake(unit, task)
            case "hand_over":
                allocation = await self._allocation(unit, task)
                now = await unit.now(not_before=allocation.state_since)
                cause = Cause(actor=WORKER, at=now, reason="The health gate passed.")
                await advance(
                    unit,
                    self.ids,
                    allocation,
                    AllocationEvent.ACTIVATE,
                    cause,
                    {"active_at": now, "releases_at": allocation.expires_after(now)},
                )
            case _:
                pass

    async def undo(self, task: Task, step: Step) -> None:
        """Remove whatever ``create`` may have made, wipe it, and prove it gone."""
        placed = await self._place(task)
        async with faults.REMOVE:
            await self.driver.release(placed.access, placed.allocation.claim_id)
        await self._wipe(placed)
        await self._verify_clean(placed)

    async def undoing(self, unit: AllocationUnit, task: Task) -> None:
        allocation = await self._allocation(unit, task)
        if allocation.state is AllocationState.UNWINDING:
            return
        cancelled = task.cancel_requested_at is not None and not task.error
        event = AllocationEvent.CANCEL if cancelled else AllocationEvent.FAIL
        await advance(
            unit,
            self.ids,
            allocation,
            event,
            Cause(actor=WORKER, at=await unit.now(), reason=task.error_detail),
            {
                "cause": "cancelled" if cancelled else "failed",
                "failure_reason": None if cancelled else reasons.failure_reason(task.error),
            },
        )
        await (gang.share_cancel if cancelled else gang.share_failure)(unit, task)

    async def finished(self, unit: AllocationUnit, task: Task, finish: Finish) -> None:
        if finish.status is not TaskStatus.SUCCEEDED:
            await self.undoing(unit, task)
            allocation = await self._allocation(unit, task)
            changes: dict[str, object] = {}
            if finish.error == "unwind_failed":
                event = AllocationEvent.GIVE_UP
                changes["release_failed_reason"] = reasons.release_failed_reason("wipe_unproven")
            elif allocation.cause == "cancelled":
                event = AllocationEvent.UNWOUND
            else:
                event = AllocationEvent.UNWOUND_FAILED
            cause = Cause(actor=WORKER, at=await unit.now(), reason=finish.detail)
            await advance(unit, self.ids, allocation, event, cause, changes)
        await child_finished(unit, task)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(OnNode):
    """Cut off, remove, wipe, prove, and only then make the capacity available again."""

    saga: Saga = RELEASE

    def intent(self, task: Task, step: str) -> str:
        return ""

    async def step_begun(self, unit: AllocationUnit, task: Task, step: str) -> None:
        """Nothing changes in the rows until a step is done."""

    async def do(self, task: Task, step: Step) -> Mapping[str, Json]:
        if step.key == "free":
            return {}  # what it means is written when the task ends
        placed = await self._place(task)
        claim_id = placed.allocation.claim_id
        match step.key:
            case "cut_off":
                async with faults.CUT_OFF:
                    await self.driver.cut_off(placed.access, claim_id)
            case "remove":
                async with faults.REMOVE:
                    await self.driver.release(placed.access, claim_id)
            case "wipe":
                return {"evidence": await self._wipe(placed)}
            case _:
                await self._verify_clean(placed)
        return {}

    async def step_done(self, unit: AllocationUnit, task: Task, step: Step) -> None:
        if step.key == "wipe":
            allocation = await self._allocation(unit, task)
            wipe: Json = json.loads(str(step.result["evidence"]))
            await unit.allocations.put(replace(allocation, receipt={"wipe": wipe}))

    async def undo(self, task: Task, step: Step) -> None:
        """A release has no way back."""

    async def undoing(self, unit: AllocationUnit, task: Task) -> None:
        """A release has no way back."""

    async def finished(self, unit: AllocationUnit, task: Task, finish: Finish) -> None:
        allocation = await self._allocation(unit, task)
        if allocation.state is not AllocationState.RELEASING:
            raise IllegalTransition(f"A release ended while it is {allocation.state}.")
        cause = Cause(actor=WORKER, at=await unit.now(), reason=finish.detail)
        if finish.status is TaskStatus.SUCCEEDED:
            await advance(unit, self.ids, allocation, AllocationEvent.CLEAN, cause)
            return
        changes = {"release_failed_reason": reasons.release_failed_reason(finish.error)}
        await advance(unit, self.ids, allocation, AllocationEvent.GIVE_UP, cause, changes)
