"""What a person may do to workloads, one or many, and the confirmation that comes before it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.lifecycle import PublicStatus
from gpucloud_core.allocations.model import Allocation
from gpucloud_core.allocations.queries import AllocationView
from gpucloud_core.allocations.release import CancelAllocation, ReleaseAllocation
from gpucloud_core.allocations.restart import RestartAllocation
from gpucloud_core.kernel.ids import AllocationId
from gpucloud_web.components import Consequence
from gpucloud_web.pages.workload_endings import ConfirmPage
from gpucloud_web.pages.workload_rows import CANCELLABLE, RELEASABLE, RESTARTABLE


class Changes(Protocol):
    """A use case that changes one allocation."""

    async def __call__(self, *, actor: Actor, allocation_id: AllocationId) -> Allocation: ...


class Confirms(Protocol):
    """What makes the confirmation of one allocation."""

    def __call__(
        self, view: AllocationView, /, *, base: str, idempotency_key: str, error: str = ""
    ) -> ConfirmPage: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Something done to workloads.

    Attributes:
        verb, past: on the button of many, and of what became of them.
        fits: the statuses in which it can be done.
        points: what it does, said of many.
    """

    use_case: type[Changes]
    confirm: Confirms
    verb: str
    past: str
    fits: frozenset[PublicStatus]
    danger: bool
    points: tuple[Consequence, ...]


ACTS: Final[Mapping[str, Act]] = {
    "release": Act(
        use_case=ReleaseAllocation,
        confirm=ConfirmPage.release,
        verb="Release",
        past="released",
        fits=RELEASABLE,
        danger=True,
        points=(
            Consequence(icon="cloud-off", text="Every shell and connection is cut at once."),
            Consequence(icon="eraser", text="Disks are wiped and the wipe is proven. No undo."),
            Consequence(icon="wallet", text="Billing of each stops the moment you press Release."),
            Consequence(icon="receipt", text="Kept: timelines, costs, and a receipt for each."),
        ),
    ),
    "cancel": Act(
        use_case=CancelAllocation,
        confirm=ConfirmPage.cancel,
        verb="Cancel",
        past="cancelled",
        fits=CANCELLABLE,
        danger=True,
        points=(
            Consequence(icon="player-stop", text="Each stops at its next step boundary."),
            Consequence(icon="arrow-back-up", text="What was made is undone and wiped."),
            Consequence(icon="wallet", text="Nothing is charged; the holds return to you."),
        ),
    ),
    "restart": Act(
        use_case=RestartAllocation,
        confirm=ConfirmPage.restart,
        verb="Restart",
        past="restarted",
        fits=RESTARTABLE,
        danger=False,
        points=(
            Consequence(icon="rotate-clockwise", text="Everything that runs in them is ended."),
            Consequence(icon="server-2", text="Kept: GPUs, disks, addresses, keys."),
            Consequence(
                icon="wallet", text="Billed on if they come back; not billed if they do not."
            ),
        ),
    ),
}
