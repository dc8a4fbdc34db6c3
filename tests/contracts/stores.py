"""What the contract suites of a store share: how to begin, and how to look behind the ports."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import pytest

from gpucloud_core.access.model import Project, Tenant, User
from gpucloud_core.allocations.ports import AllocationUnit
from gpucloud_core.kernel.audit import AuditRow
from gpucloud_core.kernel.outbox import RelayUnit
from gpucloud_core.kernel.rows import Rows
from gpucloud_core.kernel.unit import Scope, Transactions
from row_builders import a_project, a_tenant, a_user

PLATFORM = Scope.platform()


class StoreUnit(AllocationUnit, RelayUnit, Protocol):
    """Everything a store's unit can do."""

    @property
    def audit_rows(self) -> Rows[AuditRow]: ...


@dataclass(frozen=True, slots=True)
class Household:
    """A tenant with a user and a project, stored."""

    tenant: Tenant
    user: User
    project: Project

    @property
    def scope(self) -> Scope:
        return Scope.tenant(self.tenant.id)


async def settle(transactions: Transactions[StoreUnit]) -> Household:
    """Store a tenant of its own for one test, so that tests can share a database."""
    tenant, user = a_tenant(), a_user()
    project = a_project(tenant.id)
    async with transactions.begin(PLATFORM) as unit:
        await unit.tenants.add(tenant)
        await unit.users.add(user)
        await unit.projects.add(project)
    return Household(tenant, user, project)


class StoreContract(ABC):
    """A suite about a store. Subclasses say which, and how to look behind its ports."""

    @pytest.fixture
    @abstractmethod
    def transactions(self) -> Transactions[StoreUnit]: ...

    @abstractmethod
    async def committed(
        self, transactions: Transactions[StoreUnit], table: str, column: str, value: str
    ) -> int:
        """Count the committed rows, read behind the port: a contract never trusts what it tests."""

    @pytest.fixture
    async def home(self, transactions: Transactions[StoreUnit]) -> Household:
        return await settle(transactions)

    @pytest.fixture
    async def neighbour(self, transactions: Transactions[StoreUnit]) -> Household:
        return await settle(transactions)
