"""The reference pages say what the tables say, and codes are for ever."""

from pathlib import Path

import pytest

from gpucloud_adapters.reference import PAGES, load_core
from gpucloud_core.kernel.errors import ERRORS

FOLDER = Path(__file__).parent.parent.parent / "docs" / "reference"


class TestPages:
    @pytest.mark.parametrize("name", PAGES)
    def test_are_what_the_tables_print(self, name: str) -> None:
        load_core()

        committed = (FOLDER / name).read_text(encoding="utf-8")

        assert committed == PAGES[name](), "run `make docs`"


class TestErrors:
    def test_all_say_what_to_do_next(self) -> None:
        load_core()

        assert [code for code, error in ERRORS.items() if not error.next_step] == []

    def test_have_a_title_that_ends_as_a_sentence(self) -> None:
        load_core()

        assert [code for code, error in ERRORS.items() if not error.title().endswith(".")] == []
