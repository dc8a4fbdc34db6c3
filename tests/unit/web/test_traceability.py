"""From everything a person can press to the operation that does the same, and back.

Seen to fail when a route that changes something was missing from the table, when a form carried
another operation than its table row, and when an operation had neither a page nor a reason.
"""

import asyncio
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from api_world import memory_app
from gpucloud_adapters.memory.cloud import MemoryCloud
from gpucloud_web.navigation import PAGES
from page_visitor import PageVisitor, launched, workload_in

DOCS: Final = Path(__file__).resolve().parents[3] / "docs" / "ux"
TABLE: Final = tomllib.loads((DOCS / "actions.toml").read_text(encoding="utf-8"))
ACTIONS: Final[dict[str, dict[str, str]]] = {row["route"]: row for row in TABLE["action"]}
SCREENS: Final = tomllib.loads((DOCS / "inventory.toml").read_text(encoding="utf-8"))["screen"]
METHODS: Final = ("get", "post", "put", "patch", "delete")


@pytest.fixture(scope="module")
def app() -> Litestar:
    return memory_app(asyncio.run(MemoryCloud.found(nodes=1)))


def shape_of(path: str) -> str:
    path = re.sub(r"\{[^}]*\}", "{}", path)
    return re.sub(r"/[a-z]{3}_\w+", "/{}", path)


def operations(app: Litestar) -> Iterator[tuple[str, str]]:
    for path, item in (app.openapi_schema.paths or {}).items():
        for method in METHODS:
            if (operation := getattr(item, method)) is not None:
                yield str(operation.operation_id), shape_of(path)


def writes(app: Litestar) -> set[str]:
    """Return the routes for people that take a form."""
    return {
        shape_of(route.path)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        and "POST" in route.methods
        and not route.path.startswith("/api/")
    }


def posts_of(html: str) -> Iterator[tuple[str, set[str]]]:
    """Return each form that changes something, with the operations its buttons name."""
    for form in re.findall(r"<form\b.*?</form>", html, re.DOTALL):
        if 'method="post"' in form:
            action = re.search(r'action="([^"?]+)', form)
            assert action, form
            yield shape_of(action.group(1)), set(re.findall(r'data-operation="(\w*)"', form))


class TestActions:
    def test_are_all_in_the_table(self, app: Litestar) -> None:
        missing = writes(app) - ACTIONS.keys()

        assert missing == set(), "name the operation of each in docs/ux/actions.toml"

    def test_are_no_longer_in_the_table_when_they_are_gone(self, app: Litestar) -> None:
        assert ACTIONS.keys() - writes(app) == set()

    def test_name_operations_that_exist(self, app: Litestar) -> None:
        known = {name for name, _ in operations(app)}
        for row in ACTIONS.values():
            assert ("operation" in row) != ("local" in row), row
            assert row.get("operation") in {*known, None}, row

    async def test_say_on_the_page_what_the_table_says(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        await launched(visitor)
        await visitor.cloud.work()
        workload = workload_in((await visitor.get("/workloads")).text)
        chosen = f"/workloads/bulk/release?id={workload.rpartition('/')[2]}"
        for path in (*PAGES, workload, f"{workload}/release", f"{workload}/restart", chosen):
            page = await visitor.get(path)
            for route, named in posts_of(page.text):
                assert route in ACTIONS, (path, route)
                wanted = ACTIONS[route].get("operation", "")
                assert named - {""} <= {wanted}, (path, route)


class TestOperations:
    def test_have_a_page_or_a_reason(self, app: Litestar) -> None:
        seen = {name for screen in SCREENS for name in screen["operations"]}
        seen |= {row.get("operation", "") for row in ACTIONS.values()}
        unexplained = {
            (name, path) for name, path in operations(app) if name not in seen and not _why(path)
        }

        assert unexplained == set(), "name a page in inventory.toml or a reason in actions.toml"

    def test_named_in_links_exist(self, app: Litestar) -> None:
        known = {name for name, _ in operations(app)}
        source = Path(__file__).resolve().parents[3] / "src" / "gpucloud_web"
        named = {
            name
            for path in source.rglob("*.py")
            if "/api/" not in path.as_posix()
            for name in re.findall(r'\boperation="(\w+)"', path.read_text(encoding="utf-8"))
        }

        assert named <= known


def _why(path: str) -> str:
    rows: list[dict[str, Any]] = TABLE["unseen"]
    return next(
        (
            row["why"]
            for row in rows
            if row.get("path") == path or path.startswith(row.get("under", "\0"))
        ),
        "",
    )
