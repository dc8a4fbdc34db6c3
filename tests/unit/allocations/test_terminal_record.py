"""Each terminal that is opened ends once in the audit, whatever becomes of its process.

Seen to fail when the sweep took leases that were still good, when closing wrote without looking
whether somebody had written before, and when a renewal brought a lease back that was swept.
"""

import asyncio
from datetime import datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from gpucloud_adapters.memory.unit import MemoryTransactions
from gpucloud_core.access.model import Actor, Role
from gpucloud_core.access.session_life import Client
from gpucloud_core.allocations.model import TerminalLease
from gpucloud_core.allocations.terminal import Admission, Holder
from gpucloud_core.allocations.terminal_life import SIGNED_OUT
from gpucloud_core.allocations.terminal_record import LEASE, CloseLostTerminals, RecordTerminal
from gpucloud_core.kernel.audit import AuditRow
from gpucloud_core.kernel.ids import AllocationId, ClaimId, ProjectId, TenantId, UserId
from gpucloud_core.nodes.model import NodeAccess
from row_builders import FixedClock

TENANT, USER = TenantId("ten_1"), UserId("usr_1")
ADA = Actor(user_id=USER, username="ada", tenant_id=TENANT, tenant_role=Role.OWNER)
ADMISSION = Admission(
    holder=Holder(
        tenant_id=TENANT, user_id=USER, session_id=None, allocation_id=AllocationId("alc_1")
    ),
    actor=ADA,
    project_id=ProjectId("prj_1"),
    access=NodeAccess(host="h", port=22, username="u", host_key="k", credential="c"),
    claim_id=ClaimId("clm_1"),
)


class Books(RuleBasedStateMachine):
    """Processes open terminals, tell of them, close them, die; a sweep goes by now and then."""

    terminals = Bundle("terminals")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FixedClock()
        self.store = MemoryTransactions(self.clock)
        self.record = RecordTerminal(transactions=self.store)
        self.sweep = CloseLostTerminals(transactions=self.store)
        self.until: dict[
            str, datetime
        ] = {}  # the whole model: open terminals, and until when they are good

    @rule(target=terminals)
    def open(self) -> TerminalLease:
        name = f"trm_{len(self._rows('terminal.open'))}"
        lease = asyncio.run(self.record.opened(ADMISSION, name=name, client=Client(ip="192.0.2.1")))
        self.until[name] = self.clock.at + LEASE
        return lease

    @rule(seconds=st.integers(1, 100))
    def wait(self, seconds: int) -> None:
        self.clock.at += timedelta(seconds=seconds)

    @rule(lease=terminals)
    def tell(self, lease: TerminalLease) -> None:
        held = asyncio.run(self.record.held([lease.id]))

        assert held == {lease.id} & self.until.keys()
        if held:
            self.until[lease.id] = self.clock.at + LEASE

    @rule(lease=terminals)
    def close(self, lease: TerminalLease) -> None:
        asyncio.run(self.record.closed(lease, SIGNED_OUT))
        self.until.pop(lease.id, None)

    @rule()
    def go_by(self) -> None:
        lost = {name for name, until in self.until.items() if until <= self.clock.at}

        assert asyncio.run(self.sweep()) == len(lost)
        assert lost <= set(self._named("terminal.close"))
        for name in lost:
            del self.until[name]

    @invariant()
    def each_ends_once(self) -> None:
        opened, closed = self._named("terminal.open"), self._named("terminal.close")
        assert len(closed) == len(set(closed))
        assert set(opened) == set(closed) | self.until.keys()
        for row in self._rows("terminal.close"):
            assert (row.actor, row.user_id, row.ip) == ("ada", USER, "192.0.2.1")

    def _named(self, action: str) -> list[str]:
        named = []
        for row in self._rows(action):
            change = row.changes["terminal"]
            assert isinstance(change, list)
            named += [str(name) for name in change if name is not None]
        return named

    def _rows(self, action: str) -> list[AuditRow]:
        return [row for row in self.store.database.audit_rows if row.action == action]


TestBooks = Books.TestCase
