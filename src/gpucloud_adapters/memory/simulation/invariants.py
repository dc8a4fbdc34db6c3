"""What must hold at all times, as pure functions over rows: the platform's promises I1 to I11.

Each function looks at the rows of one thing (a tenant's ledger, an allocation, a node) and gives
every breach it finds, so that a simulation may ask after each transaction, and a watchdog of a
living platform whenever it likes. None of them repairs, none knows how the rows came about.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gpucloud_core.allocations.lifecycle import LIFECYCLE
from gpucloud_core.allocations.model import Allocation, AllocationState
from gpucloud_core.billing.books import Books
from gpucloud_core.billing.model import (
    AccountKind,
    BillingAccount,
    Hold,
    HoldState,
    PaymentSession,
    Transfer,
    TransferKind,
)
from gpucloud_core.billing.ports import Checkout
from gpucloud_core.kernel.ids import ClaimId
from gpucloud_core.kernel.time import microseconds_between
from gpucloud_core.metering.charge import accrued
from gpucloud_core.metering.model import UsageSegment
from gpucloud_core.nodes.holdings import HeldSlice, Stage
from gpucloud_core.nodes.model import Node, NodeStatus, OwnedSlice, Slot, SlotState
from gpucloud_core.placement.model import Claim, NodeCapacity
from gpucloud_core.placement.promises import Promise
from gpucloud_core.waitlist.model import WaitEntry, WaitState
from gpucloud_core.work.model import StepStatus, Task, TaskStatus

S = AllocationState

MAKING: Final = frozenset({S.REQUESTED, S.PROVISIONING, S.UNWINDING})
"""States before anything was ever charged."""

ENDED: Final = frozenset({S.RELEASED, S.CANCELLED, S.FAILED})
"""States from which nothing leads on: everything is given back."""

UNCHARGED: Final = frozenset({S.CANCELLED, S.FAILED})
HANDED_OVER: Final = frozenset({S.ACTIVE, S.RESTARTING, S.DEGRADED})
DRIVEN: Final = MAKING | {S.RESTARTING, S.RELEASING}
"""States that a task has to lead out of."""

_LAUNCH_MAX: Final = timedelta(minutes=10 + 30 + 10)  # both limits, and the last step's turns
_OUTCOMES: Final = frozenset({StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.UNDONE})
_PATIENCE: Final = 3  # how many times its own limit a state may last


@dataclass(frozen=True, slots=True)
class Breach:
    """A promise that does not hold: which, of what, and what was found instead."""

    promise: str
    subject: str
    found: str

    def __str__(self) -> str:
        return f"{self.promise} {self.subject}: {self.found}"


def one_fate(task: Task, others: Iterable[Task]) -> Iterator[Breach]:
    """Machines that were launched to run together are all handed over, or none is."""
    ends = {task.status, *(other.status for other in others)}
    if TaskStatus.SUCCEEDED in ends and ends & {TaskStatus.FAILED, TaskStatus.CANCELLED}:
        yield Breach("together", task.id, "some of its launch run, and others never did")


def offer_is_kept(entry: WaitEntry, promise: Promise | None) -> Iterator[Breach]:
    """What is promised is offered at this moment; whoever else waits is promised nothing."""
    if promise is not None and entry.state is not WaitState.OFFERED:
        yield Breach("waitlist", entry.id, f"room is promised to what is {entry.state}")


def ledger_adds_up(
    tenant: str,
    before: Mapping[AccountKind, int],
    posted: Iterable[Transfer],
    balances: Mapping[AccountKind, int],
) -> Iterator[Breach]:
    """I1: each transfer sums to zero, and a balance is the sum of its entries.

    ``before`` are the balances before ``posted``; nothing but zeros for a whole ledger.
    """
    expected = dict(before)
    for transfer in posted:
        if total := sum(transfer.entries.values()):
            yield Breach("I1", transfer.id, f"its entries sum to {total}")
        for account, micros in transfer.entries.items():
            expected[account] = expected.get(account, 0) + micros
    for account in AccountKind:
        if expected.get(account, 0) != balances.get(account, 0):
            found = f"{account} is {balances.get(account, 0)}, not {expected.get(account, 0)}"
            yield Breach("I1", tenant, found)


def money_is_there(books: Books, now: datetime) -> Iterator[Breach]:
    """I2: nothing is negative, and what is held and lent is what the rows say."""
    tenant, balances = books.account.tenant_id, books.balances
    held = sum(hold.amount_micros for hold in books.open_holds)
    credit = sum(lot.remaining_micros for lot in books.account.credits)
    for account in (AccountKind.PREPAID, AccountKind.HELD, AccountKind.PROMOTIONAL):
        if balances.get(account, 0) < 0:
            yield Breach("I2", tenant, f"{account} is {balances[account]}")
    if held != balances.get(AccountKind.HELD, 0):
        found = f"open holds are {held}, the ledger holds {balances.get(AccountKind.HELD, 0)}"
        yield Breach("I2", tenant, found)
    if credit != balances.get(AccountKind.PROMOTIONAL, 0):
        has = balances.get(AccountKind.PROMOTIONAL, 0)
        yield Breach("I2", tenant, f"lots of credit are {credit}, the ledger has {has}")
    if any(hold.amount_micros < 0 for hold in books.open_holds):
        yield Breach("I2", tenant, "a hold is negative")
    if (free := books.available(now)) < 0:
        yield Breach("I2", tenant, f"{free} is available")


def time_is_billed_once(
    allocation: Allocation, segments: Sequence[UsageSegment]
) -> Iterator[Breach]:
    """I3: what is billed lies between active and the end, and no second is billed twice."""
    ordered = sorted(segments, key=lambda segment: (segment.started_at, segment.id))
    running = [segment for segment in ordered if segment.ended_at is None]
    billed = LIFECYCLE.states[allocation.state].billed
    # While it restarts its money may end: it is released as soon as it is back.
    is_paused = allocation.state is S.RESTARTING and ordered and not running
    if (len(running) == 1) != billed and not is_paused:
        found = f"{len(running)} meters run while it is {allocation.state}"
        yield Breach("I3", allocation.id, found)
    since = allocation.active_at
    if since is not None and since > allocation.requested_at + _LAUNCH_MAX:
        found = f"asked for at {allocation.requested_at}, it is billed from {since} on"
        yield Breach("I3", allocation.id, found)
    for segment in ordered:
        if since is None or segment.started_at < since:
            yield Breach("I3", segment.id, f"it starts at {segment.started_at}, before {since}")
            return
        since = segment.ended_at or datetime.max.replace(tzinfo=since.tzinfo)
        if since < segment.started_at:
            yield Breach("I3", segment.id, f"it ends at {since}, before it starts")
        asked = allocation.release_requested_at
        if asked is not None and since > asked:
            yield Breach("I3", segment.id, f"it ends at {since}, after the release at {asked}")
        broken_at = allocation.state_since if allocation.state is S.DEGRADED else None
        if broken_at is not None and since > broken_at:
            yield Breach("I3", segment.id, f"it ends at {since}, after the evidence at {broken_at}")
    is_over = ordered and not running and allocation.state not in HANDED_OVER
    if is_over and allocation.billing_stopped_at != since:
        found = f"billing stopped at {allocation.billing_stopped_at}, its last meter at {since}"
        yield Breach("I3", allocation.id, found)


def meter_stopped_on_time(
    before: BillingAccount,
    running: UsageSegment,
    ended: UsageSegment,
    *,
    asked_at: datetime | None,
    reserve_micros: int = 0,
) -> Iterator[Breach]:
    """I3: a meter stops when it was asked to, or when its money ended if that was earlier.

    To the micro-unit: of the instants at which it costs the same, any will do. ``before`` and
    ``running`` are the rows as they were. ``asked_at`` is None where nobody asked, and
    ``reserve_micros`` pay for time beyond the end of the balance.
    """
    exact = set()
    if asked_at is not None:
        exact.add(_cost(ended, max(asked_at, running.started_at)))
    if before.depletes_at is not None:
        exact.add(_cost(ended, max(before.depletes_at, running.settled_until)) + reserve_micros)
    if not exact:
        yield Breach("I3", ended.id, f"it ended at {ended.ended_at}, and nothing asked it to")
    elif ended.settled_micros != min(exact):
        found = f"{ended.settled_micros} until {ended.ended_at}, not {min(exact)}"
        yield Breach("I3", ended.id, found)


def _cost(segment: UsageSegment, until: datetime) -> int:
    elapsed = microseconds_between(segment.started_at, until)
    return accrued(segment.rate_micros_per_hour, max(0, elapsed))


def paid_once(session: PaymentSession, checkout: Checkout, posted: int) -> Iterator[Breach]:
    """I4: a payment has at most one effect, and none without the provider's word.

    ``posted`` is how much the ledger has of it, in all transfers.
    """
    if posted not in {0, checkout.amount_micros}:
        yield Breach("I4", session.id, f"{checkout.amount_micros} came to {posted}")
    if posted and not checkout.paid:
        yield Breach("I4", session.id, "it is credited and was never paid")
    if posted != session.credited_micros:
        found = f"the ledger has {posted}, the session {session.credited_micros}"
        yield Breach("I4", session.id, found)


def paid_is_credited(session: PaymentSession, checkout: Checkout) -> Iterator[Breach]:
    """I4: once the provider's word has come, what was paid is on the balance."""
    if checkout.paid and session.credited_micros != checkout.amount_micros:
        yield Breach("I4", session.id, f"paid, and {session.credited_micros} credited")


def usage_adds_up(
    allocation_id: str, segments: Sequence[UsageSegment], transfers: Iterable[Transfer]
) -> Iterator[Breach]:
    """I5: usage rows, usage entries and the closed form agree, to the micro-unit."""
    taken = sum(
        transfer.entries.get(AccountKind.REVENUE, 0)
        for transfer in transfers
        if transfer.kind in {TransferKind.USAGE, TransferKind.CORRECTION}
    )
    settled = sum(segment.settled_micros for segment in segments)
    if settled != taken:
        yield Breach("I5", allocation_id, f"usage says {settled}, the ledger {taken}")
    for segment in segments:
        exact = _cost(segment, segment.settled_until)
        if segment.settled_micros != exact:
            found = f"{segment.settled_micros} for time that costs {exact}"
            yield Breach("I5", segment.id, found)
        if segment.ended_at is not None and segment.ended_at != segment.settled_until:
            yield Breach("I5", segment.id, f"ended, and settled until {segment.settled_until}")


def failure_is_free(
    allocation: Allocation, segments: Sequence[UsageSegment], holds: Iterable[Hold]
) -> Iterator[Breach]:
    """I6: what was never active costs nothing, and when it has ended it holds nothing."""
    if allocation.active_at is None and segments:
        yield Breach("I6", allocation.id, "it was never active and has a meter")
    if allocation.state in UNCHARGED:
        if allocation.active_at is not None:
            yield Breach("I6", allocation.id, f"{allocation.state}, though it was active")
        if any(hold.state is HoldState.OPEN for hold in holds):
            yield Breach("I6", allocation.id, f"{allocation.state}, and its hold is open")


def held_once(
    capacity: NodeCapacity, slots: Sequence[Slot], claims: Sequence[Claim]
) -> Iterator[Breach]:
    """I7: no slot has two open claims, a whole node excludes all others, and the counts agree."""
    taken = 0
    for claim in claims:
        if taken & claim.mask or (claim.whole_node and len(claims) > 1):
            yield Breach("I7", claim.id, f"{claim.mask:#x} of {claim.node_id} is another's too")
        taken |= claim.mask
    if capacity.free_mask != capacity.approved_mask & ~taken:
        found = f"{capacity.free_mask:#x} is free while {taken:#x} is claimed"
        yield Breach("I7", capacity.node_id, found)
    for slot in slots:
        is_free = slot.state in {SlotState.AVAILABLE, SlotState.PROPOSED, SlotState.DISABLED}
        if is_free == bool(taken >> slot.index & 1):
            yield Breach("I7", slot.id, f"{slot.state}, and {taken:#x} is claimed")


def sold_in_service(claim: Claim, node: Node, slots: Sequence[Slot]) -> Iterator[Breach]:
    """I8: what is newly claimed lies on a node in service, in slots that were on sale."""
    if node.status is not NodeStatus.ACTIVE:
        yield Breach("I8", claim.id, f"it was claimed on {node.name} while that is {node.status}")
    for slot in slots:
        if claim.mask >> slot.index & 1 and slot.state is not SlotState.CLAIMED:
            yield Breach("I8", claim.id, f"it was claimed, and {slot.id} is {slot.state}")


def free_is_clean(allocation: Allocation, claim: Claim, left: HeldSlice | None) -> Iterator[Breach]:
    """I8: capacity is given back only when its node has nothing of the claim, with the proof.

    ``left`` is what the node really knows of the claim.
    """
    if claim.released_at is None:
        return
    if left is not None and left.stage is not Stage.WIPED:
        yield Breach("I8", claim.id, f"its capacity is free, and on the node it is {left.stage}")
    if allocation.state is S.RELEASED:
        wipe = allocation.receipt.get("wipe")
        if not isinstance(wipe, dict) or wipe.get("claim_id") != claim.id:
            yield Breach("I8", allocation.id, f"released, and its proof is {wipe}")


def nothing_strays(
    host: str,
    on_node: Iterable[OwnedSlice],
    open_claims: Mapping[ClaimId, Claim],
    lied_about: Collection[str] = (),
) -> Iterator[Breach]:
    """I9, at all times: every slice on a node belongs to an open claim.

    Of a claim that its node has lied about this is not to be had, only that it is soon found.
    """
    for owned in on_node:
        if owned.claim_id not in open_claims and owned.claim_id not in lied_about:
            yield Breach("I9", owned.claim_id, f"it is on {host}, and its claim is closed")


def views_agree(
    host: str,
    on_node: Iterable[OwnedSlice],
    expected: Mapping[ClaimId, Allocation],
    fenced: Collection[ClaimId],
) -> Iterator[Breach]:
    """I9, when all is quiet: a node has exactly the slices of what is handed over.

    ``expected`` are the allocations of the node that have a slice, by claim; ``fenced`` the claims
    whose release has failed, which may have one or not.
    """
    found = {owned.claim_id: owned for owned in on_node}
    for claim_id in sorted(found.keys() - expected.keys() - set(fenced)):
        yield Breach("I9", claim_id, f"it is on {host}, and no allocation runs there")
    for claim_id, allocation in sorted(expected.items()):
        owned_slice = found.get(claim_id)
        is_there = owned_slice is not None and owned_slice.running
        if not is_there and allocation.state is not S.DEGRADED:
            yield Breach("I9", claim_id, f"{allocation.id} is {allocation.state}, not on {host}")


def keys_agree(allocation: Allocation, fingerprints: Iterable[str]) -> Iterator[Breach]:
    """I9, when all is quiet: exactly the keys that the rows call applied get in."""
    applied = {key.fingerprint for key in allocation.keys if key.applied_at is not None}
    if applied != set(fingerprints):
        yield Breach("I9", allocation.id, "others get in than its rows say")


def ended_is_gone(
    allocation: Allocation,
    *,
    task: Task | None,
    holds: Iterable[Hold],
    claim: Claim | None,
    left: HeldSlice | None,
) -> Iterator[Breach]:
    """I10: what has ended runs nowhere, lets nobody in, holds nothing and waits for nothing."""
    stopped = allocation.state in ENDED | {S.RELEASE_FAILED, S.RELEASING}
    if stopped and any(hold.state is HoldState.OPEN for hold in holds):
        yield Breach("I10", allocation.id, f"{allocation.state}, and its hold is open")
    if stopped and allocation.releases_at is not None:
        yield Breach("I10", allocation.id, f"{allocation.state}, and its timer runs")
    if allocation.state not in ENDED:
        if claim is None or claim.released_at is not None:
            yield Breach("I10", allocation.id, f"{allocation.state}, and its claim is closed")
        return
    if left is not None and left.exists:
        yield Breach("I10", allocation.id, f"{allocation.state}, and its slice is {left.stage}")
    if claim is None or claim.released_at is None:
        yield Breach("I10", allocation.id, f"{allocation.state}, and its claim is open")
    if task is None or task.finished_at is None:
        yield Breach("I10", allocation.id, f"{allocation.state}, and its task goes on")


def nobody_is_inside(allocation: Allocation, shells: int) -> Iterator[Breach]:
    """I10: no terminal outlives its allocation."""
    if shells:
        yield Breach("I10", allocation.id, f"{allocation.state}, and {shells} terminals are open")


def somebody_drives(
    allocation: Allocation, task: Task | None, now: datetime, *, asleep: timedelta = timedelta(0)
) -> Iterator[Breach]:
    """I11: a state that should pass has a task that is due or under a lease, and does pass.

    ``asleep`` is for how long, meanwhile, nobody was there to work.
    """
    if allocation.state not in DRIVEN:
        return
    if task is None or task.subject != allocation.id:
        yield Breach("I11", allocation.id, f"{allocation.state}, and no task drives it")
        return
    if task.finished_at is not None or task.due_at is None:
        yield Breach("I11", allocation.id, f"{allocation.state}, and {task.id} is not due again")
    limit = LIFECYCLE.states[allocation.state].limit
    if limit is not None and now - allocation.state_since > limit[0] * _PATIENCE + asleep:
        found = f"{allocation.state} since {allocation.state_since}"
        yield Breach("I11", allocation.id, found)


def task_is_due(task: Task) -> Iterator[Breach]:
    """I11: a task with steps that has not finished is due at some time."""
    if task.steps and task.finished_at is None and task.due_at is None:
        yield Breach("I11", task.id, "it is not finished and never due")


def lease_is_kept(before: Task, after: Task, now: datetime) -> Iterator[Breach]:
    """F6: nobody takes a task whose lease runs, and none writes what came of a step without one."""
    holder, until = before.lease_token, before.lease_until
    is_taken = holder is not None and after.lease_token not in {holder, None}
    if is_taken and until is not None and until > now:
        yield Breach("lease", after.id, f"it was taken at {now}, and somebody has it until {until}")
    if holder is None:
        was = {step.key: step.status for step in before.steps}
        for step in after.steps:
            if was.get(step.key) is StepStatus.ACTIVE and step.status in _OUTCOMES:
                yield Breach("lease", after.id, f"{step.key} is {step.status}, by nobody's lease")
