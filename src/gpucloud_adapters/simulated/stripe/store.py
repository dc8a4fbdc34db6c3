"""Everything the simulated Stripe knows, in one SQLite file.

The server has one event loop and never waits inside a change, so a change is a transaction and
needs no lock. A commit is on disk before it is answered.
"""

import json
import secrets
import sqlite3
import string
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

Resource: TypeAlias = dict[str, Any]

_LETTERS: Final = string.ascii_letters + string.digits
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS resources (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    private TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX IF NOT EXISTS resources_by_kind ON resources (kind, number);
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,
    request_hash TEXT NOT NULL,
    request_id TEXT NOT NULL,
    status INTEGER NOT NULL,
    body TEXT NOT NULL,
    at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS errands (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    due REAL NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    done_at REAL
);
CREATE INDEX IF NOT EXISTS errands_by_due ON errands (due) WHERE done_at IS NULL;
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered under an idempotency key."""

    request_hash: str
    request_id: str
    status: int
    body: str


@dataclass(frozen=True, slots=True)
class Errand:
    """Something to do at an instant: deliver an event, settle a payment, expire a session."""

    number: int
    kind: str
    subject: str
    due: float
    attempt: int


def new_id(prefix: str, length: int = 24) -> str:
    """Return an id that nobody guesses, in Stripe's manner."""
    return prefix + "".join(secrets.choice(_LETTERS) for _ in range(length))


class Store:
    """Resources by id, answers by idempotency key, and errands by when they are due."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000;"
        )
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        self._database.close()

    @contextmanager
    def change(self) -> Iterator[None]:
        """All that is written in the block is kept, or none of it."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    # ---- resources -------------------------------------------------------------------------

    def put(self, resource: Resource) -> None:
        self._database.execute(
            "INSERT INTO resources (id, kind, body) VALUES (?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            (resource["id"], resource["object"], json.dumps(resource)),
        )

    def get(self, kind: str, key: str) -> Resource | None:
        row = self._database.execute(
            "SELECT body FROM resources WHERE id = ? AND kind = ?", (key, kind)
        ).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def newest_first(self, kind: str) -> Iterator[Resource]:
        rows = self._database.execute(
            "SELECT body FROM resources WHERE kind = ? ORDER BY number DESC", (kind,)
        )
        return (dict(json.loads(body)) for (body,) in rows)

    def private(self, key: str) -> dict[str, Any]:
        """Return what we know of a resource that its owner is not told."""
        row = self._database.execute(
            "SELECT private FROM resources WHERE id = ?", (key,)
        ).fetchone()
        return dict(json.loads(row[0])) if row is not None else {}

    def put_private(self, key: str, facts: Mapping[str, Any]) -> None:
        self._database.execute(
            "UPDATE resources SET private = ? WHERE id = ?", (json.dumps(facts), key)
        )

    # ---- answers ---------------------------------------------------------------------------

    def answer(self, key: str, *, since: float) -> Answer | None:
        """Return what was answered under ``key`` at or after ``since``."""
        row = self._database.execute(
            "SELECT request_hash, request_id, status, body FROM answers WHERE key = ? AND at >= ?",
            (key, since),
        ).fetchone()
        return None if row is None else Answer(*row)

    def put_answer(self, key: str, answer: Answer, at: float) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?)",
            (key, answer.request_hash, answer.request_id, answer.status, answer.body, at),
        )

    # ---- errands ---------------------------------------------------------------------------

    def add_errand(self, kind: str, subject: str, due: float) -> None:
        self._database.execute(
            "INSERT INTO errands (kind, subject, due) VALUES (?, ?, ?)", (kind, subject, due)
        )

    def due_errands(self, now: float, *, limit: int) -> list[Errand]:
        rows = self._database.execute(
            "SELECT number, kind, subject, due, attempt FROM errands"
            " WHERE done_at IS NULL AND due <= ? ORDER BY due, number LIMIT ?",
            (now, limit),
        )
        return [Errand(*row) for row in rows]

    def next_due(self) -> float | None:
        row = self._database.execute(
            "SELECT min(due) FROM errands WHERE done_at IS NULL"
        ).fetchone()
        return None if row is None else row[0]

    def finish_errand(self, number: int, at: float) -> None:
        self._database.execute("UPDATE errands SET done_at = ? WHERE number = ?", (at, number))

    def postpone_errand(self, number: int, due: float) -> None:
        self._database.execute(
            "UPDATE errands SET due = ?, attempt = attempt + 1 WHERE number = ?", (due, number)
        )

    def drop_errands(self, kind: str, subject: str, at: float) -> None:
        self._database.execute(
            "UPDATE errands SET done_at = ? WHERE kind = ? AND subject = ? AND done_at IS NULL",
            (at, kind, subject),
        )
