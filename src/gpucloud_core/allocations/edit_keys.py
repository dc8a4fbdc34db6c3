"""Change who may get into a running allocation: the user's own public keys, live."""

from dataclasses import dataclass, replace

from gpucloud_core.access.acting import fact_by
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor, SshKey
from gpucloud_core.allocations.apply import lock_allocation, queue
from gpucloud_core.allocations.errors import NotConnectable, SshKeyRequired, SshKeyUnknown
from gpucloud_core.allocations.model import Allocation, AllocationState, AppliedKey
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.allocations.saga import EDIT_KEYS
from gpucloud_core.kernel.ids import AllocationId, Ids, TaskId
from gpucloud_core.kernel.unit import Scope, Transactions


def with_keys(
    current: tuple[AppliedKey, ...], chosen: tuple[SshKey, ...]
) -> tuple[AppliedKey, ...]:
    """Return the keys as chosen; those that were there keep when they were applied."""
    known = {key.fingerprint: key for key in current}
    return tuple(
        known.get(
            key.fingerprint,
            AppliedKey(
                id=key.id,
                fingerprint=key.fingerprint,
                public_key=key.public_key,
                name=key.name,
            ),
        )
        for key in chosen
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EditKeys:
    """Let exactly these keys of the actor's in; each is stamped when it was read back."""

    transactions: Transactions[AllocationUnit]
    ids: Ids

    async def __call__(
        self,
        *,
        actor: Actor,
        allocation_id: AllocationId,
        ssh_key_ids: tuple[str, ...],
    ) -> tuple[Allocation, TaskId]:
        """Return the allocation with the chosen keys, and the task that applies them.

        Raises:
            NotFound, Forbidden: not theirs, or not theirs to change.
            NotConnectable: it is not active.
            SshKeyRequired, SshKeyUnknown: none chosen, or one that is not theirs.
        """
        async with self.transactions.begin(Scope.tenant(actor.tenant_id)) as unit:
            allocation = await lock_allocation(unit, actor.tenant_id, allocation_id)
            require(
                actor,
                Action.ALLOCATION_KEYS,
                tenant_id=allocation.tenant_id,
                project_id=allocation.project_id,
            )
            if allocation.state is not AllocationState.ACTIVE:
                raise NotConnectable(f"It is {allocation.state}. {NotConnectable.next_step}")
            chosen = await self._chosen(unit, actor, allocation, ssh_key_ids)
            edited = replace(
                allocation,
                keys=with_keys(allocation.keys, chosen),
                generation=allocation.generation + 1,
            )
            await unit.allocations.put(edited)
            task = await queue(unit, self.ids, edited, EDIT_KEYS, await unit.now())
            await unit.audit(
                fact_by(
                    actor,
                    action="allocation.edit_keys",
                    target=allocation.id,
                    project_id=allocation.project_id,
                    changes={
                        "keys": [
                            [key.fingerprint for key in allocation.keys],
                            [key.fingerprint for key in edited.keys],
                        ]
                    },
                )
            )
        return edited, task.id

    async def _chosen(
        self, unit: AllocationUnit, actor: Actor, allocation: Allocation, ids: tuple[str, ...]
    ) -> tuple[SshKey, ...]:
        """Return the chosen keys: the actor's own, or others' that are in already."""
        if not ids:
            raise SshKeyRequired
        wanted = list(dict.fromkeys(ids))
        inside = {key.id for key in allocation.keys}
        found = [
            key
            for key in await unit.ssh_keys.find_any("id", wanted)
            if key.id in inside or (key.user_id == actor.user_id and key.deleted_at is None)
        ]
        if missing := len(wanted) - len(found):
            raise SshKeyUnknown(f"{missing} of the keys is not in your list.")
        return tuple(found)
