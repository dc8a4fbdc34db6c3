"""Sees every change that is committed to a database in memory, as it is committed."""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from gpucloud_adapters.memory.database import Journal, K, MemoryDatabase, V

BALANCES: Final = "balances"
EVENTS: Final = "events"

Changed: TypeAlias = Mapping[str, tuple[str, ...]]
"""Keys of the rows that one transaction changed, by table, in the order of the first change.

Of ``balances`` the keys are tenants, of ``events`` (the outbox) the numbers of the events.
"""


class WatchedJournal(Journal):
    """A journal that tells ``seen`` what was changed, whenever a transaction is committed."""

    def __init__(self, seen: Callable[[Changed], None]) -> None:
        super().__init__()
        self._seen = seen
        self._names: dict[int, str] = {}
        self._changed: dict[str, dict[str, None]] = {}

    def attach(self, database: MemoryDatabase) -> None:
        """Learn which mapping is which table."""
        self._names = {id(table.rows): name for name, table in database.tables.items()}
        self._names[id(database.balances)] = BALANCES
        self._names[id(database.events)] = EVENTS

    def assign(self, mapping: dict[K, V], key: K, value: V) -> None:
        super().assign(mapping, key, value)
        self._note(mapping, key)

    def remove(self, mapping: dict[K, V], key: K) -> None:
        super().remove(mapping, key)
        self._note(mapping, key)

    def roll_back(self, mark: int = 0) -> None:
        super().roll_back(mark)
        if mark == 0:  # else it is told of some rows in vain
            self._changed = {}

    def forget(self) -> None:
        super().forget()
        changed, self._changed = self._changed, {}
        if changed:
            self._seen({name: tuple(keys) for name, keys in changed.items()})

    def _note(self, mapping: object, key: object) -> None:
        name = self._names.get(id(mapping))
        if name is not None:
            shown = str(key[0]) if isinstance(key, tuple) else str(key)
            self._changed.setdefault(name, {})[shown] = None


def watched_database(seen: Callable[[Changed], None]) -> MemoryDatabase:
    """Return an empty database that tells ``seen`` of every commit."""
    journal = WatchedJournal(seen)
    database = MemoryDatabase(journal)
    journal.attach(database)
    return database
