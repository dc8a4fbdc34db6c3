"""Each screen in each of its states says what it should, whatever things are called."""

import re
import tomllib
from html import unescape
from pathlib import Path
from typing import Final

import pytest

from gpucloud_adapters.memory.cloud import MemoryCloud
from gpucloud_core.kernel.unit import Scope
from page_visitor import PageVisitor, heading_of, links, title_of
from world.every_state import EVERY_STATE
from world.page_states import STRANGE, WITH_OWN_TESTS, Scene, add_copy, many, older_of, seen

FILE: Final = Path(__file__).resolve().parents[3] / "docs" / "ux" / "inventory.toml"
SCREENS: Final = tomllib.loads(FILE.read_text(encoding="utf-8"))["screen"]
CASES: Final = [(path, state) for path, states in EVERY_STATE.items() for state in states]
NAMES: Final = STRANGE[:5]  # the last one ends in a space, which a form takes off


class TestMatrix:
    @pytest.mark.parametrize(("path", "state"), CASES)
    async def test_says_so(
        self, visitor: PageVisitor, cloud: MemoryCloud, path: str, state: str
    ) -> None:
        sight, words = EVERY_STATE[path][state]
        page = await seen(sight, Scene(visitor, cloud))

        assert words in unescape(page.text), path
        assert title_of(page.text)
        assert heading_of(page.text)

    def test_has_every_state_of_its_screens(self) -> None:
        listed = {screen["path"]: set(screen["states"]) for screen in SCREENS}
        for path, states in EVERY_STATE.items():
            assert set(states) | WITH_OWN_TESTS.get(path, set()) == listed[path], path


class TestNames:
    @pytest.mark.parametrize("name", NAMES)
    async def test_of_any_kind_are_shown_as_they_are(
        self, visitor: PageVisitor, cloud: MemoryCloud, name: str
    ) -> None:
        address = await Scene(visitor, cloud).workload(name)

        for path in ("/", "/workloads", "/billing", address, f"{address}/release"):
            page = await visitor.get(path)
            assert name in unescape(page.text), path
            assert "<b>bold" not in page.text, path


class TestNumbers:
    @pytest.mark.parametrize("count", [0, 1, 25, 400])
    async def test_of_rows_are_paged_and_none_is_lost(
        self, visitor: PageVisitor, cloud: MemoryCloud, count: int
    ) -> None:
        scene = Scene(visitor, cloud)
        await scene.ada()
        for number in range(count):
            await (many(scene, number) if number == 0 else _again(scene, number))
        rows: list[str] = []
        address = "/workloads?limit=100&view=released"
        while True:
            page = await visitor.get(address)
            rows += [link for link in links(page.text) if "/receipt" in link or "alc_" in link]
            if 'rel="next"' not in page.text:
                break
            address = older_of(page.text)

        ids = {re.split("[/?]", row)[2] for row in rows if row.startswith("/workloads/alc_")}
        assert len(ids) == count

    async def test_of_ten_thousand_rows_are_counted_paged_and_exported(
        self, visitor: PageVisitor, cloud: MemoryCloud
    ) -> None:
        sight, _ = EVERY_STATE["/workloads"]["ten_thousand"]
        page = await seen(sight, Scene(visitor, cloud))
        first = await visitor.get(f"{page.url.raw_path.decode()}&limit=100")
        second = await visitor.get(older_of(first.text))
        export = first.text.partition('id="export"')[0].rpartition('href="')[2].partition('"')[0]
        lines = (await visitor.get(unescape(export))).text.splitlines()

        shown = [re.findall(r'data-row="(alc_\w+)"', page.text) for page in (first, second)]
        assert [len(set(rows)) for rows in shown] == [100, 100]
        assert not set(shown[0]) & set(shown[1])
        assert len(lines) == 10_001


async def _again(scene: Scene, number: int) -> None:
    async with scene.cloud.transactions.begin(Scope.platform()) as unit:
        template = await unit.allocations.get("alc_00000000000000000000000000")
    assert template is not None
    await add_copy(scene, template, number)
