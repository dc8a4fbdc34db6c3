"""The screen inventory agrees with the menu, the routes and the API's operations."""

import asyncio
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
from litestar import Litestar

from api_world import memory_app
from gpucloud_adapters.memory.cloud import MemoryCloud
from gpucloud_web.navigation import PAGES, Maturity
from gpucloud_web.pages.admin import FORCES
from gpucloud_web.pages.images import OFFERS
from gpucloud_web.pages.node_words import BY_PATH as NODE_ACTS
from gpucloud_web.pages.nodes import SAGAS
from gpucloud_web.pages.skus import SALES
from gpucloud_web.pages.workload_acts import ACTS

FILE: Final = Path(__file__).resolve().parents[3] / "docs" / "ux" / "inventory.toml"
SCREENS: Final[list[dict[str, Any]]] = tomllib.loads(FILE.read_text(encoding="utf-8"))["screen"]
BY_PATH: Final = {screen["path"]: screen for screen in SCREENS}

LISTS: Final = ("/workloads", "/infra/allocations")


@pytest.fixture(scope="module")
def app() -> Litestar:
    return memory_app(asyncio.run(MemoryCloud.found(nodes=1)))


def shape_of(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path)


class TestInventory:
    def test_names_each_screen_once(self) -> None:
        assert len(BY_PATH) == len(SCREENS)

    def test_has_every_page_of_the_menu_at_its_maturity(self) -> None:
        for path, page in PAGES.items():
            screen = BY_PATH[path.partition("?")[0]]
            assert screen["maturity"] == page.maturity, path

    def test_says_of_each_screen_who_owns_it_and_who_sees_it(self) -> None:
        for screen in SCREENS:
            assert screen["owner"], screen["path"]
            assert screen["roles"], screen["path"]
            assert screen["maturity"] in set(Maturity), screen["path"]

    def test_has_every_route_for_people(self, app: Litestar) -> None:
        listed = {shape_of(path) for path in BY_PATH}
        served = {
            shape_of(route.path)
            for route in app.routes
            if not route.path.startswith(("/api", "/static", "/ws", "/preferences", "/health"))
        }
        acts = {
            "/infra/waitlist/{}/withdraw",
            *(f"/admin/allocations/{{}}/{act}" for act in FORCES),
            *("/views/{}/save", "/find", "/inbox/read", "/inbox/{}/read"),
            *("/healthz", "/readyz", "/live", "/logout", "/billing/checkout", "/billing/portal"),
            *("/launch/discard", "/account/sessions/{}/end", "/access/ssh-keys/{}/delete"),
            *(f"/admin/audit-logs/{part}" for part in ("csv", "chain", "verify")),
            *(f"/admin/os-images/{{}}/{act}" for act in ("verify", *OFFERS)),
            *(f"/admin/skus/{{}}/{act}" for act in ("price/withdraw", *SALES)),
            *(f"/infra/allocations/{{}}/{act}" for act in ("receipt", *ACTS)),
            *(
                f"/admin/nodes/{{}}/{act}"
                for act in ("slots", "accept", "mode", "place", *SAGAS, *NODE_ACTS)
            ),
            *(f"{path}/{{}}/keys" for path in LISTS),
            *(f"{path}/{part}" for path in LISTS for part in ("rows", "csv")),
        }

        assert served - acts <= listed

    def test_names_operations_that_exist(self, app: Litestar) -> None:
        known = {
            operation.operation_id
            for item in (app.openapi_schema.paths or {}).values()
            for operation in (item.get, item.post, item.put, item.patch, item.delete)
            if operation is not None
        }
        named = {operation for screen in SCREENS for operation in screen["operations"]}

        assert named <= known
