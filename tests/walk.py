"""The walk: any order of what customers, operators, nodes, money, time and death can do.

Everything is done on the real use cases in memory, and every promise of the simulation's checks is
asked after each commit. At the end of a walk the nodes are well: whatever state it has reached, it
comes to rest, over or active, without anybody's help but a retry.

Seen to fail when a launch that failed kept its hold (``VOID_HOLD`` taken out of
``unwound_failed``), when capacity was given back before the wipe was proven (``FREE_CAPACITY``
moved from ``clean`` to ``release``), when a draining node was still sold, when a node that somebody
held could be deleted, and when one of the machines that run together could be cancelled after the
first handover, or counted as ready though it was cancelled.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable
from contextlib import suppress
from datetime import timedelta
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from customer import DOLLAR, KEY, Customer
from gpucloud_adapters.memory.cloud import MemoryCloud, OwnClock
from gpucloud_adapters.memory.node_driver import Fault, FaultKind, MemoryNodeDriver
from gpucloud_adapters.memory.payments import MemoryPayments
from gpucloud_adapters.memory.simulation.checks import Checks
from gpucloud_adapters.memory.simulation.invariants import ENDED, Breach
from gpucloud_adapters.memory.simulation.people import public_key_of
from gpucloud_adapters.memory.simulation.watch import Changed, watched_database
from gpucloud_adapters.memory.simulation.workers import Killed
from gpucloud_adapters.memory.simulation.world import PlainHasher
from gpucloud_adapters.memory.unit import MemoryTransactions
from gpucloud_adapters.stored.kinds import ALLOCATIONS, CLAIMS, NODES, TASKS
from gpucloud_core.allocations import gang
from gpucloud_core.allocations.edit_keys import EditKeys
from gpucloud_core.allocations.follow import CancelTask, RetryFailed
from gpucloud_core.allocations.force import ForceCleanAllocation, ForceRelease
from gpucloud_core.allocations.launch import LaunchAllocations
from gpucloud_core.allocations.model import Allocation, AllocationState, EndOfBalance
from gpucloud_core.billing.payments import CheckoutAsked, StartCheckout
from gpucloud_core.billing.webhooks import HandleWebhook, ReceiveWebhook
from gpucloud_core.fleet.operate import OperateNode
from gpucloud_core.kernel.errors import DomainError, IllegalTransition
from gpucloud_core.kernel.faults import armed
from gpucloud_core.kernel.idempotency import IdempotencyKey
from gpucloud_core.kernel.ids import AllocationId, TaskId
from gpucloud_core.nodes.holdings import Stage
from gpucloud_core.nodes.lifecycle import NodeEvent
from gpucloud_core.nodes.model import Node, NodeStatus
from gpucloud_core.nodes.systems import hgx_h200
from gpucloud_core.placement.model import Spread
from gpucloud_core.placement.onboard import ApproveSlots
from gpucloud_core.waitlist.join import JoinWaitlist, WaitAsked
from gpucloud_core.waitlist.model import WaitKind
from gpucloud_core.work.model import TaskStatus

S = AllocationState
VERBS: Final = (
    *("probe", "provision", "set-keys", "verify", "restart"),
    *("cut-off", "release", "wipe", "verify-clean", "list"),
)
NODES_MAX: Final = 4
HOUR: Final = timedelta(hours=1)
ORIGIN: Final = "https://gpus.example"
RESTS: Final = ENDED | {S.ACTIVE}


class Walk(RuleBasedStateMachine):
    """One customer on two nodes, the people who run them, and whatever happens."""

    allocations = Bundle("allocations")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.breaches: list[Breach] = []
        self.numbers = 0
        self.runner.run(self._begin())

    async def _begin(self) -> None:
        self.clock = OwnClock()
        self.hosts = {f"node-{n}": hgx_h200(seed=f"node-{n}") for n in range(1, NODES_MAX + 1)}
        topologies = dict(list(self.hosts.items())[:2])
        database = watched_database(self._committed)
        self.driver = MemoryNodeDriver(self.hosts, clock=self.clock)
        self.away = timedelta(0)
        self.checks = Checks(
            database,
            self.driver,
            self.clock,
            found=self.breaches.append,
            away=lambda: self.away,
        )
        self.cloud = MemoryCloud(
            clock=self.clock,
            transactions=MemoryTransactions(self.clock, database),
            driver=self.driver,
            hasher=PlainHasher(),
        )
        self.database = database
        await self.cloud.stock(topologies, micros_per_gpu_hour=3_290_000)
        actor = await self.cloud.sign_up("ada")
        self.keys = [(await self.cloud.add_key(actor, KEY)).id]
        self.keys.append((await self.cloud.add_key(actor, public_key_of("desk"))).id)
        self.ada = Customer(self.cloud, actor, self.keys[0])
        await self.cloud.give(actor, 60 * DOLLAR)
        self.payments = MemoryPayments(self.clock, secret="whsec_walk")

    def _committed(self, changed: Changed) -> None:
        self.checks.committed(changed)

    def teardown(self) -> None:
        try:
            self.runner.run(self._settle())
        finally:
            self.runner.close()

    # ---- what a customer does ------------------------------------------------------------------

    @rule(
        target=allocations,
        gpus=st.sampled_from([1, 2, 4, 8]),
        count=st.sampled_from([1, 1, 1, 3]),
        plan=st.sampled_from(EndOfBalance),
        ttl=st.sampled_from([None, None, 300, 3600]),
        spread=st.sampled_from(Spread),
        together=st.booleans(),
    )
    def launch(
        self,
        gpus: int,
        count: int,
        plan: EndOfBalance,
        ttl: int | None,
        spread: Spread,
        together: bool,
    ) -> object:
        request = self.ada.request(
            gpus,
            count=count,
            end_of_balance=plan,
            ttl_seconds=ttl,
            spread=spread,
            together=together,
        )
        try:
            accepted = self.runner.run(self.cloud.launch(self.ada.actor, request))
        except DomainError:
            return multiple()  # sold out or poor; that it is right is shown elsewhere
        return multiple(*(made for made, _ in accepted.allocations))

    @rule(allocation=allocations)
    def cancel(self, allocation: AllocationId) -> None:
        self._ask(self.cloud.cancel(self.ada.actor, allocation))

    @rule(allocation=allocations)
    def cancel_task(self, allocation: AllocationId) -> None:
        cancel = CancelTask(transactions=self.cloud.transactions)
        self._ask(cancel(actor=self.ada.actor, task_id=self._row(allocation).task_id))

    @rule(
        target=allocations,
        order=st.permutations(range(3)),
        after=st.integers(0, 4),
        who=st.integers(0, 2),
    )
    def launch_together_and_turn_back(self, order: list[int], after: int, who: int) -> object:
        """Workers get to the machines in some order; one is cancelled somewhere on the way."""
        request = self.ada.request(1, count=3, together=True)
        try:
            accepted = self.runner.run(self.cloud.launch(self.ada.actor, request))
        except DomainError:
            return multiple()
        made = [allocation for allocation, _ in accepted.allocations]
        for number, turn in enumerate((*order, order[0], order[1])):
            if number == after:
                self._ask(self.cloud.cancel(self.ada.actor, made[who]))
            self.runner.run(self.cloud.runner()(self._row(made[turn]).task_id))
        return multiple(*made)

    @rule(target=allocations, allocation=allocations)
    def launch_again_what_failed(self, allocation: AllocationId) -> object:
        task = self.database.table(TASKS).rows[self._row(allocation).task_id]
        launch = LaunchAllocations(
            transactions=self.cloud.transactions, ids=self.cloud.ids, fleet=self.cloud.fleet
        )
        retry = RetryFailed(transactions=self.cloud.transactions, launch=launch)
        try:
            asked = retry(actor=self.ada.actor, task_id=task.parent_id or task.id)
            made = self.runner.run(asked).allocations
        except DomainError:
            return multiple()
        return multiple(*(each for each, _ in made))

    @rule(gpus=st.sampled_from([1, 8]), kind=st.sampled_from(WaitKind))
    def wait_for_room(self, gpus: int, kind: WaitKind) -> None:
        join = JoinWaitlist(transactions=self.cloud.transactions, ids=self.cloud.ids)
        asked = WaitAsked(kind=kind, request=self.ada.request(gpus))
        project = self.cloud.project_of(self.ada.actor)
        self._ask(join(actor=self.ada.actor, project_id=project, asked=asked))

    @rule(allocation=allocations)
    def release_or_retry(self, allocation: AllocationId) -> None:
        self._ask(self.cloud.release(self.ada.actor, allocation))

    @rule(allocation=allocations)
    def restart(self, allocation: AllocationId) -> None:
        self._ask(self.cloud.restart(self.ada.actor, allocation))

    @rule(allocation=allocations, which=st.sampled_from([(0,), (1,), (0, 1)]))
    def change_keys(self, allocation: AllocationId, which: tuple[int, ...]) -> None:
        edit = EditKeys(transactions=self.cloud.transactions, ids=self.cloud.ids)
        keys = tuple(self.keys[index] for index in which)
        self._ask(edit(actor=self.ada.actor, allocation_id=allocation, ssh_key_ids=keys))

    @rule(dollars=st.sampled_from([5, 40]), times=st.integers(1, 2))
    def pay_and_be_told(self, dollars: int, times: int) -> None:
        self.runner.run(self._pay(dollars, times))

    # ---- what operators do ---------------------------------------------------------------------

    @rule(dollars=st.sampled_from([1, 20]))
    def give(self, dollars: int) -> None:
        self.runner.run(self.cloud.give(self.ada.actor, dollars * DOLLAR))

    @rule(allocation=allocations)
    def force_release(self, allocation: AllocationId) -> None:
        force = ForceRelease(transactions=self.cloud.transactions, ids=self.cloud.ids)
        actor = self.cloud.operator(self.ada.actor.tenant_id)
        self._ask(force(actor=actor, allocation_id=allocation, reason="The node is needed."))

    @rule(allocation=allocations)
    def vouch_for_what_is_clean(self, allocation: AllocationId) -> None:
        row = self._row(allocation)
        held = self.driver.holdings(self._host(row)).records.get(row.claim_id)
        if held is None or held.stage is Stage.WIPED:
            clean = ForceCleanAllocation(transactions=self.cloud.transactions, ids=self.cloud.ids)
            actor = self.cloud.operator(self.ada.actor.tenant_id)
            vouched = clean(
                actor=actor,
                allocation_id=allocation,
                reason="Seen on the node.",
                runtime_verified_absent=True,
            )
            self._ask(vouched, may_be_illegal=True)

    @rule(
        number=st.integers(0, NODES_MAX - 1),
        verb=st.sampled_from(sorted(set(NodeEvent) - {NodeEvent.ACTIVATE})),
    )
    def operate_a_node(self, number: int, verb: NodeEvent) -> None:
        operate = OperateNode(transactions=self.cloud.transactions)
        node = self._node(number)
        actor = self.cloud.operator(self.ada.actor.tenant_id)
        self._ask(
            operate(actor=actor, node_id=node.id, event=verb, reason="It has to be."),
            may_be_illegal=True,
        )

    @rule(number=st.integers(0, NODES_MAX - 1))
    def approve_what_a_node_offers(self, number: int) -> None:
        approve = ApproveSlots(transactions=self.cloud.transactions)
        actor = self.cloud.operator(self.ada.actor.tenant_id)
        self._ask(approve(actor=actor, node_id=self._node(number).id), may_be_illegal=True)

    @rule()
    def a_new_node_comes(self) -> None:
        number = len(self.database.rows(NODES))
        if number < NODES_MAX:
            host, topology = list(self.hosts.items())[number]
            self.runner.run(self.cloud.enroll(host, topology, network=number))

    @rule()
    def reconcile(self) -> None:
        self._ask(self.cloud.reconcile())

    # ---- what just happens ---------------------------------------------------------------------

    @rule(
        verb=st.sampled_from(VERBS),
        kind=st.sampled_from(sorted(set(FaultKind) - {FaultKind.PRETENDED})),
        times=st.integers(1, 9),
    )
    def the_node_fails(self, verb: str, kind: FaultKind, times: int) -> None:
        self.driver.plan(Fault(verb=verb, kind=kind, times=times))

    @rule()
    def one_worker_goes_as_far_as_it_can(self) -> None:
        self.runner.run(self._one_task())

    @rule(after=st.integers(0, 12))
    def one_worker_dies(self, after: int) -> None:
        points = iter(range(after, -1, -1))

        async def die(_: str) -> None:
            if next(points, 0) == 0:
                raise Killed

        async def work() -> None:
            with suppress(Killed), armed(die):
                await self._one_task()

        self.runner.run(work())

    @rule(minutes=st.sampled_from([1, 10, 120]))
    def time_passes(self, minutes: int) -> None:
        self.runner.run(self.cloud.pass_time(timedelta(minutes=minutes)))

    @rule(minutes=st.sampled_from([1, 20, 600]))
    def time_passes_and_nobody_works(self, minutes: int) -> None:
        self.away += timedelta(minutes=minutes)
        self.clock.advance_to(self.clock.now() + timedelta(minutes=minutes))

    # ---- what must be so -----------------------------------------------------------------------

    @invariant()
    def every_promise_holds(self) -> None:
        assert not self.breaches, self.breaches[0]

    @invariant()
    def machines_that_run_together_have_one_fate(self) -> None:
        gangs: dict[object, set[TaskStatus]] = defaultdict(set)
        for task in self.database.rows(TASKS):
            if task.data.get(gang.NAME) is not None:
                gangs[task.data[gang.NAME]].add(task.status)
        for fates in gangs.values():
            stopped = fates & {TaskStatus.FAILED, TaskStatus.CANCELLED}
            assert not (stopped and TaskStatus.SUCCEEDED in fates), "some run without the others"

    @invariant()
    def what_is_deleted_holds_nothing(self) -> None:
        for node in self.database.rows(NODES):
            if node.status is NodeStatus.DELETED:
                claims = self.database.table(CLAIMS).candidates({"node_id": node.id})
                assert all(claim.released_at for claim in claims)

    async def _settle(self) -> None:
        """Let all be well, and see that everything comes to rest."""
        self.driver.forget_faults()
        for _ in range(3):
            await self.cloud.pass_time(2 * HOUR)
            await self.cloud.reconcile()
            for row in self._rows():
                if row.state in {S.RELEASE_FAILED, S.DEGRADED}:
                    await self.cloud.release(self.ada.actor, row.id)
        await self.cloud.pass_time(HOUR)
        restless = {row.id: row.state for row in self._rows() if row.state not in RESTS}
        assert not restless, restless
        self.checks.everything()
        assert not self.breaches, self.breaches[0]

    # ---- how it is done ------------------------------------------------------------------------

    def _ask(self, asked: Awaitable[object], *, may_be_illegal: bool = False) -> None:
        """Ask for something, and be refused perhaps; only an operator by the table itself."""

        async def ask() -> None:
            await asked

        try:
            self.runner.run(ask())
        except IllegalTransition:
            assert may_be_illegal, "a person met an illegal transition"
        except DomainError:
            pass

    async def _one_task(self) -> None:
        due = sorted(
            (task.due_at, task.id)
            for task in self.database.rows(TASKS)
            if task.due_at is not None and task.due_at <= self.clock.now()
        )
        if due:
            await self.cloud.runner()(TaskId(due[0][1]))

    async def _pay(self, dollars: int, times: int) -> None:
        self.numbers += 1
        transactions = self.cloud.transactions
        tenant_id = self.ada.actor.tenant_id
        start = StartCheckout(
            transactions=transactions,
            processor=self.payments,
            ids=self.cloud.ids,
            public_origin=ORIGIN,
        )
        session = await start(
            actor=self.ada.actor,
            asked=CheckoutAsked(amount_micros=dollars * DOLLAR, currency="USD"),
            idempotency=IdempotencyKey.of(
                tenant_id=tenant_id, route="checkout", key=f"pay-{self.numbers}", body=b""
            ),
        )
        page = session.provider_id or ""
        self.payments.pay(page)
        receive = ReceiveWebhook(transactions=transactions, processor=self.payments)
        handle = HandleWebhook(transactions=transactions, processor=self.payments)
        for number in range(times):
            said = self.payments.event(
                "checkout.session.completed", page, event_id=f"evt_{self.numbers}_{number}"
            )
            await receive(body=said.body, signature=said.signature)
            await handle(f"evt_{self.numbers}_{number}")

    def _rows(self) -> tuple[Allocation, ...]:
        return self.database.rows(ALLOCATIONS)

    def _node(self, number: int) -> Node:
        nodes = self.database.rows(NODES)
        return nodes[number % len(nodes)]

    def _row(self, allocation_id: AllocationId) -> Allocation:
        return self.database.table(ALLOCATIONS).rows[allocation_id]

    def _host(self, allocation: Allocation) -> str:
        return self.database.table(NODES).rows[allocation.node_id].access.host
