"""A tenant's books inside one transaction: read once, changed as a value, written once.

``Books`` holds all that decides about a tenant's money: the account, its balances, what runs and
what is held. The decisions (``settlement``, ``holds``, ``meter``) are functions from books to
books that collect the transfers they make; none touches a port, so the whole life of a balance is
tested as plain values. ``ready`` adds what follows from all else, the standing and the deadlines,
and comes last.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from gpucloud_core.billing.amounts import in_words
from gpucloud_core.billing.balance import Runway, available, balance_at, runway
from gpucloud_core.billing.credit import in_spending_order
from gpucloud_core.billing.deadlines import next_deadline, notices_kept
from gpucloud_core.billing.model import (
    AccountKind,
    Balance,
    BillingAccount,
    CreditLot,
    Hold,
    HoldState,
    Standing,
    Transfer,
)
from gpucloud_core.billing.standing import standing_at
from gpucloud_core.kernel.errors import DomainError, ErrorKind
from gpucloud_core.kernel.ids import AllocationId
from gpucloud_core.metering.model import UsageSegment


class InsufficientBalance(DomainError):
    """The available balance does not cover the amount."""

    code = "insufficient_balance"
    kind = ErrorKind.PAYMENT_REQUIRED
    next_step = "Add funds, or release something; nothing was started and nothing was charged."


class AccountSuspended(DomainError):
    """A payment is disputed, so nothing new can be started."""

    code = "account_suspended"
    kind = ErrorKind.PAYMENT_REQUIRED
    next_step = "Settle the dispute with your bank or write to support; what runs goes on."


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What decides about one tenant's money, and the transfers made since it was read."""

    account: BillingAccount
    balances: Mapping[AccountKind, int]
    segments: tuple[UsageSegment, ...] = ()  # running, and those ended since
    holds: tuple[Hold, ...] = ()  # open, and those voided since
    postings: tuple[Transfer, ...] = ()

    @property
    def running(self) -> tuple[UsageSegment, ...]:
        return tuple(segment for segment in self.segments if segment.ended_at is None)

    @property
    def open_holds(self) -> tuple[Hold, ...]:
        return tuple(hold for hold in self.holds if hold.state is HoldState.OPEN)

    @property
    def prepaid_micros(self) -> int:
        return self.balances.get(AccountKind.PREPAID, 0)

    @property
    def run(self) -> Runway:
        """How long the money lasts if nothing changes.

        Of what runs alone: what has just ended is paid, perhaps for time beyond the depletion.
        """
        return runway(
            balances=self.balances,
            credits_=self.account.credits,
            segments=self.running,
            holds=self.open_holds,
        )

    def balance(self, now: datetime) -> Balance:
        return balance_at(self.account, self.balances, self.running, self.open_holds, now)

    def available(self, now: datetime) -> int:
        """Return what can be spent or held at ``now``, in micro-units; never negative."""
        return available(
            balances=self.balances,
            credits_=self.account.credits,
            segments=self.running,
            run=self.run,
            now=now,
        )

    def why_not(self, micros: int, now: datetime) -> DomainError | None:
        """Return the refusal that holding ``micros`` at ``now`` would meet; None if it is fine."""
        if self.account.standing is Standing.SUSPENDED:
            return AccountSuspended()
        free = self.available(now)
        if micros <= free:
            return None
        currency = self.account.currency
        return InsufficientBalance(
            f"{in_words(micros, currency, round_up=True)} have to be set aside as the reserve "
            f"and {in_words(free, currency)} are available. "
            f"Add at least {in_words(micros - free, currency, round_up=True)}."
        )

    def segment_of(self, allocation_id: AllocationId) -> UsageSegment | None:
        """Return what runs of the allocation, if it does."""
        return next((s for s in self.running if s.allocation_id == allocation_id), None)

    def hold_of(self, allocation_id: AllocationId) -> Hold | None:
        """Return the allocation's open hold, if there is one."""
        return next((h for h in self.open_holds if h.allocation_id == allocation_id), None)

    def applied(self, transfer: Transfer, *, lots: Iterable[CreditLot] = ()) -> "Books":
        """Return the books with ``transfer`` in the balances, and ``lots`` of credit added."""
        balances = dict(self.balances)
        for kind, micros in transfer.entries.items():
            balances[kind] = balances.get(kind, 0) + micros
        return replace(self, balances=balances).with_credits((*self.account.credits, *lots))

    def posted(self, transfer: Transfer, *, lots: Iterable[CreditLot] = ()) -> "Books":
        """Return the books with ``transfer`` applied, and to be appended to the ledger."""
        return replace(self.applied(transfer, lots=lots), postings=(*self.postings, transfer))

    def with_credits(self, lots: Iterable[CreditLot]) -> "Books":
        return replace(self, account=replace(self.account, credits=in_spending_order(lots)))

    def with_segment(self, segment: UsageSegment) -> "Books":
        """Return the books with the new value of a segment they have."""
        segments = tuple(segment if old.id == segment.id else old for old in self.segments)
        return replace(self, segments=segments)

    def with_hold(self, hold: Hold) -> "Books":
        """Return the books with the new value of a hold they have."""
        holds = tuple(hold if old.id == hold.id else old for old in self.holds)
        return replace(self, holds=holds)

    def ready(self, now: datetime, *, funded: bool = False, announced: bool = False) -> "Books":
        """Return the books with the standing and the deadlines that follow from all else.

        Args:
            now: the present.
            funded: money has come in, which ends a depletion.
            announced: the end of balance has just been announced.
        """
        run = self.run
        account = replace(
            self.account,
            standing=standing_at(self.account, run, now, funded=funded),
            notices_sent=notices_kept(self.account, run.depletes_at, now),
            depletes_at=run.depletes_at,
        )
        deadline = next_deadline(account, run, self.running, now, announced=announced)
        at = None if deadline is None else deadline.at
        return replace(self, account=replace(account, next_deadline_at=at))
