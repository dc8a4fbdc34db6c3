"""Asks the invariants, after each commit, of everything that the commit can have touched.

What was so before is remembered where a promise is about a change: balances, accounts and running
meters. So the cost of a question is that of the change, however long the world has lasted; the
whole is asked at the end.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, Final, TypeVar

from gpucloud_adapters.memory.database import MemoryDatabase
from gpucloud_adapters.memory.node_driver import MemoryNodeDriver
from gpucloud_adapters.memory.simulation import invariants, records
from gpucloud_adapters.memory.simulation.invariants import DRIVEN, ENDED, HANDED_OVER, Breach
from gpucloud_adapters.memory.simulation.provider import RestlessPayments
from gpucloud_adapters.memory.simulation.watch import BALANCES, Changed
from gpucloud_adapters.stored.kinds import (
    ALLOCATIONS,
    ATTENTION_ROWS,
    AUDIT_CHAIN,
    AUDIT_ROWS,
    BILLING_ACCOUNTS,
    CLAIMS,
    HOLDS,
    INBOX_NOTICES,
    LEDGER_TRANSFERS,
    NODE_CAPACITY,
    NODES,
    PAYMENTS,
    PROMISES,
    SLOTS,
    STATE_CHANGES,
    TASKS,
    USAGE_SEGMENTS,
    WAITLIST,
    Kind,
)
from gpucloud_core.allocations import gang
from gpucloud_core.allocations.lifecycle import LIFECYCLE
from gpucloud_core.allocations.model import Allocation, AllocationState
from gpucloud_core.audit.chain import Anchor
from gpucloud_core.billing.books import Books
from gpucloud_core.billing.model import (
    AccountKind,
    BillingAccount,
    Hold,
    HoldState,
    PaymentSession,
    Transfer,
)
from gpucloud_core.kernel.ids import TenantId
from gpucloud_core.kernel.time import Clock
from gpucloud_core.metering.model import UsageSegment
from gpucloud_core.nodes.holdings import HeldSlice, owned
from gpucloud_core.nodes.wire_values import public_key
from gpucloud_core.placement.model import Claim
from gpucloud_core.waitlist.lifecycle import WAITLIST as WAITS
from gpucloud_core.work.model import Task

T = TypeVar("T")
_MONEY: Final[tuple[Kind[Any], ...]] = (BILLING_ACCOUNTS, USAGE_SEGMENTS, HOLDS, LEDGER_TRANSFERS)
"""What a tenant's money is made of; meters before holds, for these are asked as they were."""
_OF_ALLOCATIONS: Final[tuple[Kind[Any], ...]] = (HOLDS, USAGE_SEGMENTS, CLAIMS)


class Checks:
    """The invariants over one database and its nodes.

    Args:
        database: where the rows are.
        driver: what is really on the nodes.
        clock: the database's.
        found: told of each breach.
        payments: what was really paid, if anything was.
        away: for how long, altogether, nobody was there to work.
        lied_about: claims of which a node said that an order was carried out, and it was not;
            until all is at rest nothing is held against anybody about them.
    """

    def __init__(
        self,
        database: MemoryDatabase,
        driver: MemoryNodeDriver,
        clock: Clock,
        *,
        found: Callable[[Breach], None],
        payments: RestlessPayments | None = None,
        away: Callable[[], timedelta] = timedelta,
        lied_about: Collection[str] = (),
    ) -> None:
        self.asked = 0
        self._database = database
        self._driver = driver
        self._payments = payments
        self._clock = clock
        self._away = away
        self._lied_about = lied_about
        self._found = found
        self._balances: dict[str, dict[AccountKind, int]] = {}
        self._accounts: dict[str, BillingAccount] = {}
        self._running: dict[str, dict[str, UsageSegment]] = {}  # by tenant
        self._claims: set[str] = set()  # that were seen
        self._tasks: dict[str, Task] = {}  # those under way
        self._holds: dict[str, dict[str, Hold]] = {}  # by tenant; open ones

    # ---- after each event ----------------------------------------------------------------------

    def committed(self, changed: Changed) -> None:
        """Ask everything that may have become wrong by this commit."""
        self._tell(self._money(changed))
        self._tell(
            breach for each in self._allocations(changed) for breach in self._allocation(each)
        )
        for claim in self._changed(CLAIMS, changed):
            self._tell(self._claim(claim))
        for node_id in self._nodes(changed):
            self._tell(self._node(node_id))
        for key in changed.get(PAYMENTS.table, ()):
            self._tell(self._payment(self._database.table(PAYMENTS).rows[key]))
        self._tell(
            records.people_are_recorded(
                self._changed(STATE_CHANGES, changed), self._changed(AUDIT_ROWS, changed)
            )
        )
        self._tell(self._waits(changed))
        for key in changed.get(TASKS.table, ()):
            self._tell(self._task(self._database.table(TASKS).rows[key]))

    def node_changed(self, host: str) -> None:
        """Ask what must hold on a node whatever order it has just carried out."""
        claims = self._database.table(CLAIMS).rows
        slices = owned(self._driver.holdings(host))
        open_claims = {
            one.claim_id: claims[one.claim_id]
            for one in slices
            if one.claim_id in claims and claims[one.claim_id].released_at is None
        }
        self._tell(invariants.nothing_strays(host, slices, open_claims))

    def time_passed(self) -> None:
        """Ask what can become wrong by nothing happening."""
        for state in sorted(DRIVEN):
            for allocation in self._database.table(ALLOCATIONS).candidates({"state": state}):
                self._tell(self._driven(allocation))

    # ---- when all is quiet ---------------------------------------------------------------------

    def at_rest(self) -> None:
        """Ask what must hold once nothing moves: the nodes and the rows agree."""
        self._lied_about = ()
        for node in self._database.rows(NODES):
            on_node = owned(self._driver.holdings(node.access.host))
            here = [row for row in self._database.rows(ALLOCATIONS) if row.node_id == node.id]
            expected = {row.claim_id: row for row in here if row.state in HANDED_OVER}
            fenced = [row.claim_id for row in here if row.state is AllocationState.RELEASE_FAILED]
            self._tell(invariants.views_agree(node.access.host, on_node, expected, fenced))
            records = self._driver.holdings(node.access.host).records
            for claim_id, allocation in expected.items():
                if allocation.state is AllocationState.DEGRADED:
                    continue
                held = records.get(claim_id)
                inside = [] if held is None else [public_key(key).fingerprint for key in held.keys]
                self._tell(invariants.keys_agree(allocation, inside))
        for session in self._database.rows(PAYMENTS):
            if self._payments is not None and session.provider_id in self._payments.told:
                checkout = self._payments.page(session.provider_id or "")
                self._tell(invariants.paid_is_credited(session, checkout))

    def at_the_end(self) -> None:
        """Ask everything of everything, when nobody has anything any more."""
        self.at_rest()
        self.everything()
        for allocation in self._database.rows(ALLOCATIONS):
            if allocation.state not in ENDED:
                self._tell([Breach("settle", allocation.id, f"it stays {allocation.state}")])
        for entry in self._database.rows(WAITLIST):
            if not WAITS.is_final(entry.state):
                self._tell([Breach("settle", entry.id, f"it still is {entry.state}")])
        for promise in self._database.rows(PROMISES):
            self._tell([Breach("settle", promise.id, "room is promised to nobody")])
        for capacity in self._database.rows(NODE_CAPACITY):
            if capacity.free_mask != capacity.approved_mask:
                self._tell([Breach("settle", capacity.node_id, "not all of it is free")])

    def everything(self) -> None:
        """Ask what must hold at any time, of every row there is."""
        by_tenant: dict[str, list[Transfer]] = {}
        for transfer in self._database.transfers:
            by_tenant.setdefault(transfer.tenant_id, []).append(transfer)
        for account in self._database.rows(BILLING_ACCOUNTS):
            tenant, posted = account.tenant_id, by_tenant.get(account.tenant_id, [])
            self._tell(invariants.ledger_adds_up(tenant, {}, posted, self._ledger_of(tenant)))
        for allocation in self._database.rows(ALLOCATIONS):
            self._tell(self._allocation(allocation))
        for capacity in self._database.rows(NODE_CAPACITY):
            self._tell(self._node(capacity.node_id))
        for session in self._database.rows(PAYMENTS):
            self._tell(self._payment(session))

    def records(self, anchors: Sequence[Anchor]) -> None:
        """Ask what must be so of notices, attention and audit once all of them are up to date."""
        rows = self._database.rows
        allocations = rows(ALLOCATIONS)
        events = [stored.event for stored in self._database.events.values()]
        self._tell(records.told_once(allocations, rows(INBOX_NOTICES), events))
        self._tell(records.attention_is_true(rows(ATTENTION_ROWS), allocations, rows(SLOTS)))
        head = next(iter(rows(AUDIT_CHAIN)), None)
        self._tell(records.chain_holds(rows(AUDIT_ROWS), head, anchors))

    # ---- what is asked of each thing -----------------------------------------------------------

    def _money(self, changed: Changed) -> Iterator[Breach]:
        touched: dict[str, list[Transfer]] = {key: [] for key in changed.get(BALANCES, ())}
        for kind in _MONEY:
            rows = self._database.tables[kind.table].rows
            for key in changed.get(kind.table, ()):
                row = rows[key]
                posted = touched.setdefault(row.tenant_id, [])
                if isinstance(row, Transfer):
                    posted.append(row)
                elif isinstance(row, Hold):
                    self._note_hold(row)
                elif isinstance(row, UsageSegment):
                    yield from self._note_segment(row)
        for tenant, posted in touched.items():
            yield from self._tenant(tenant, posted)

    def _tenant(self, tenant: str, posted: list[Transfer]) -> Iterator[Breach]:
        balances = self._ledger_of(tenant)
        before = self._balances.get(tenant, {})
        yield from invariants.ledger_adds_up(tenant, before, posted, balances)
        self._balances[tenant] = balances
        account = self._database.table(BILLING_ACCOUNTS).rows[tenant]
        self._accounts[tenant] = account
        books = Books(
            account=account,
            balances=balances,
            segments=tuple(self._running.get(tenant, {}).values()),
            holds=tuple(self._holds.get(tenant, {}).values()),
        )
        yield from invariants.money_is_there(books, self._clock.now())

    def _note_hold(self, hold: Hold) -> None:
        holds = self._holds.setdefault(hold.tenant_id, {})
        if hold.state is HoldState.OPEN:
            holds[hold.id] = hold
        else:
            holds.pop(hold.id, None)

    def _note_segment(self, segment: UsageSegment) -> Iterator[Breach]:
        running = self._running.setdefault(segment.tenant_id, {})
        if segment.ended_at is None:
            running[segment.id] = segment
            return
        was = running.pop(segment.id, None)
        before = self._accounts.get(segment.tenant_id)
        if was is None or before is None:
            return
        allocation = self._database.table(ALLOCATIONS).rows[segment.allocation_id]
        goes_on = LIFECYCLE.states[allocation.state].billed  # its money ended while it restarted
        reserves = (
            hold.amount_micros
            for hold in self._holds.get(segment.tenant_id, {}).values()
            if hold.allocation_id == segment.allocation_id and hold.run_on_reserve
        )
        yield from invariants.meter_stopped_on_time(
            before,
            was,
            segment,
            asked_at=None if goes_on else allocation.state_since,
            reserve_micros=sum(reserves),
        )

    def _allocation(self, allocation: Allocation) -> Iterator[Breach]:
        self.asked += 1
        database = self._database
        mine = {"allocation_id": allocation.id}
        segments = list(database.table(USAGE_SEGMENTS).candidates(mine))
        holds = list(database.table(HOLDS).candidates(mine))
        claim = database.table(CLAIMS).rows.get(allocation.claim_id)
        left = self._left(allocation)
        yield from invariants.time_is_billed_once(allocation, segments)
        posted = database.table(LEDGER_TRANSFERS).candidates(mine)
        yield from invariants.usage_adds_up(allocation.id, segments, posted)
        yield from invariants.failure_is_free(allocation, segments, holds)
        if allocation.state in ENDED and allocation.claim_id not in self._lied_about:
            shells = self._driver.open_shells(self._host(allocation), allocation.claim_id)
            yield from invariants.nobody_is_inside(allocation, shells)
        if claim is not None:
            yield from invariants.free_is_clean(allocation, claim, left)
        task = database.table(TASKS).rows.get(allocation.task_id)
        yield from invariants.ended_is_gone(
            allocation, task=task, holds=holds, claim=claim, left=left
        )
        yield from self._driven(allocation)

    def _driven(self, allocation: Allocation) -> Iterator[Breach]:
        task = self._database.table(TASKS).rows.get(allocation.task_id)
        yield from invariants.somebody_drives(
            allocation, task, self._clock.now(), asleep=self._away()
        )

    def _task(self, task: Task) -> Iterator[Breach]:
        yield from invariants.task_is_due(task)
        if task.finished_at is not None and (name := task.data.get(gang.NAME)) is not None:
            members = self._database.table(TASKS).candidates({"parent_id": task.parent_id})
            yield from invariants.one_fate(
                task, (one for one in members if one.data.get(gang.NAME) == name)
            )
        before = self._tasks.get(task.id)
        if before is not None:
            yield from invariants.lease_is_kept(before, task, self._clock.now())
        if task.finished_at is None:
            self._tasks[task.id] = task
        else:
            self._tasks.pop(task.id, None)

    def _claim(self, claim: Claim) -> Iterator[Breach]:
        if claim.id not in self._claims:
            self._claims.add(claim.id)
            node = self._database.table(NODES).rows[claim.node_id]
            slots = self._database.table(SLOTS).candidates({"node_id": claim.node_id})
            yield from invariants.sold_in_service(claim, node, list(slots))

    def _node(self, node_id: str) -> Iterator[Breach]:
        here = {"node_id": node_id}
        claims = self._database.table(CLAIMS).candidates({**here, "released_at": None})
        yield from invariants.held_once(
            self._database.table(NODE_CAPACITY).rows[node_id],
            list(self._database.table(SLOTS).candidates(here)),
            [claim for claim in claims if claim.node_id == node_id and claim.released_at is None],
        )

    def _payment(self, session: PaymentSession) -> Iterator[Breach]:
        if session.provider_id is None or self._payments is None:
            return
        key = f"payment:{session.provider_id}"
        posted = self._database.table(LEDGER_TRANSFERS).candidates(
            {"tenant_id": session.tenant_id, "idempotency_key": key}
        )
        credited = sum(
            transfer.entries.get(AccountKind.PREPAID, 0)
            + transfer.entries.get(AccountKind.RECEIVABLE, 0)
            for transfer in posted
        )
        checkout = self._payments.page(session.provider_id)
        yield from invariants.paid_once(session, checkout, credited)

    def _waits(self, changed: Changed) -> Iterator[Breach]:
        entries = self._database.table(WAITLIST).rows
        promises = self._database.table(PROMISES).rows
        touched = {*changed.get(WAITLIST.table, ()), *changed.get(PROMISES.table, ())}
        for key in sorted(touched):
            yield from invariants.offer_is_kept(entries[key], promises.get(key))

    # ---- finding rows --------------------------------------------------------------------------

    def _changed(self, kind: Kind[T], changed: Changed) -> Iterator[T]:
        rows = self._database.table(kind).rows
        return (rows[key] for key in changed.get(kind.table, ()))

    def _allocations(self, changed: Changed) -> Iterator[Allocation]:
        """Return the allocations that a commit touched, each once."""
        rows = self._database.table(ALLOCATIONS).rows
        touched = dict.fromkeys(changed.get(ALLOCATIONS.table, ()))
        for kind in _OF_ALLOCATIONS:
            table = self._database.tables[kind.table]
            touched |= dict.fromkeys(
                table.rows[key].allocation_id for key in changed.get(kind.table, ())
            )
        tasks = self._database.table(TASKS).rows
        touched |= dict.fromkeys(tasks[key].subject for key in changed.get(TASKS.table, ()))
        return (rows[key] for key in touched if key in rows)

    def _nodes(self, changed: Changed) -> Iterable[str]:
        slots, claims = self._database.table(SLOTS).rows, self._database.table(CLAIMS).rows
        touched = dict.fromkeys(changed.get(NODE_CAPACITY.table, ()))
        touched |= dict.fromkeys(slots[key].node_id for key in changed.get(SLOTS.table, ()))
        touched |= dict.fromkeys(claims[key].node_id for key in changed.get(CLAIMS.table, ()))
        return touched

    def _ledger_of(self, tenant: str) -> dict[AccountKind, int]:
        stored = self._database.balances
        return {kind: stored.get((TenantId(tenant), kind), 0) for kind in AccountKind}

    def _left(self, allocation: Allocation) -> HeldSlice | None:
        if allocation.claim_id in self._lied_about:
            return None
        return self._driver.holdings(self._host(allocation)).records.get(allocation.claim_id)

    def _host(self, allocation: Allocation) -> str:
        return self._database.table(NODES).rows[allocation.node_id].access.host

    def _tell(self, breaches: Iterable[Breach]) -> None:
        for breach in breaches:
            self._found(breach)
