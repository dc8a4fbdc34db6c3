"""Change a running allocation, and what only operators may do to it."""

import msgspec
from dishka.integrations.litestar import FromDishka
from litestar import Controller, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.edit_keys import EditKeys
from gpucloud_core.allocations.force import ForceCleanAllocation, ForceRelease
from gpucloud_core.allocations.model import Allocation
from gpucloud_core.allocations.queries import ReadAllocation
from gpucloud_core.allocations.restart import RestartAllocation
from gpucloud_core.kernel.ids import AllocationId, parse_id
from gpucloud_web.api.allocation_bodies import KeyBody
from gpucloud_web.api.lists import Listing


class EditKeysBody(msgspec.Struct, forbid_unknown_fields=True):
    """Exactly the keys that may get in."""

    ssh_key_ids: list[str]


class EditedKeysBody(msgspec.Struct):
    """The keys as chosen; one without ``applied_at`` is on its way in ``task_id``."""

    task_id: str
    items: list[KeyBody]


class ForceBody(msgspec.Struct, forbid_unknown_fields=True):
    """Why; it stands in the audit log and in the allocation's timeline."""

    reason: str


class ForceCleanupBody(msgspec.Struct, forbid_unknown_fields=True):
    """Why, and that somebody has looked on the node that nothing of the claim is left."""

    reason: str
    runtime_verified_absent: bool = False


class TakenUpBody(msgspec.Struct):
    """The allocation as it is now, and the task that does the rest."""

    id: str
    status: str
    task_id: str

    @classmethod
    def of(cls, allocation: Allocation) -> "TakenUpBody":
        return cls(allocation.id, allocation.state, allocation.task_id)


def _keys(allocation: Allocation) -> list[KeyBody]:
    return [KeyBody(k.id, k.name, k.fingerprint, k.applied_at) for k in allocation.keys]


class AllocationKeys(Controller):
    path = "/allocations/{allocation_id:str}/ssh-keys"
    tags = ["allocations"]

    @get(operation_id="listAllocationKeys")
    async def index(
        self,
        allocation_id: FromPath[str],
        actor: NamedDependency[Actor],
        read_allocation: FromDishka[ReadAllocation],
    ) -> Listing[KeyBody]:
        """List the keys that may get in, and when each was read back."""
        found = AllocationId(parse_id("alc", allocation_id))
        view = await read_allocation(actor=actor, allocation_id=found)
        return Listing(_keys(view.allocation))

    @put(operation_id="editAllocationKeys", status_code=202)
    async def edit(
        self,
        allocation_id: FromPath[str],
        data: JSONBody[EditKeysBody],
        actor: NamedDependency[Actor],
        edit_keys: FromDishka[EditKeys],
    ) -> EditedKeysBody:
        """Let exactly these keys in, live."""
        allocation, task_id = await edit_keys(
            actor=actor,
            allocation_id=AllocationId(parse_id("alc", allocation_id)),
            ssh_key_ids=tuple(data.ssh_key_ids),
        )
        return EditedKeysBody(task_id, _keys(allocation))


@post(
    "/allocations/{allocation_id:str}/restart",
    operation_id="restartAllocation",
    status_code=202,
    tags=["allocations"],
)
async def restart_allocation(
    allocation_id: FromPath[str],
    actor: NamedDependency[Actor],
    restart: FromDishka[RestartAllocation],
) -> TakenUpBody:
    """End everything that runs in it and start it anew; keys, disk and address stay."""
    found = AllocationId(parse_id("alc", allocation_id))
    return TakenUpBody.of(await restart(actor=actor, allocation_id=found))


class AdminAllocations(Controller):
    path = "/admin/allocations/{allocation_id:str}"
    tags = ["admin"]

    @post("/force-release", operation_id="forceRelease", status_code=202)
    async def release(
        self,
        allocation_id: FromPath[str],
        data: JSONBody[ForceBody],
        actor: NamedDependency[Actor],
        force_release: FromDishka[ForceRelease],
    ) -> TakenUpBody:
        """End anybody's allocation, with a reason."""
        found = AllocationId(parse_id("alc", allocation_id))
        ended = await force_release(actor=actor, allocation_id=found, reason=data.reason)
        return TakenUpBody.of(ended)

    @post("/force-cleanup", operation_id="forceCleanup", status_code=202)
    async def cleanup(
        self,
        allocation_id: FromPath[str],
        data: JSONBody[ForceCleanupBody],
        actor: NamedDependency[Actor],
        force_clean: FromDishka[ForceCleanAllocation],
    ) -> TakenUpBody:
        """Free fenced capacity on the word of an operator who has looked."""
        cleaned = await force_clean(
            actor=actor,
            allocation_id=AllocationId(parse_id("alc", allocation_id)),
            reason=data.reason,
            runtime_verified_absent=data.runtime_verified_absent,
        )
        return TakenUpBody.of(cleaned)
