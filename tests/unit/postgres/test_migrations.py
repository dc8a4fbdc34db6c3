"""Migrations make one line, whoever added theirs at the same time.

Seen to fail when two of them came after the same one.
"""

import ast
from pathlib import Path

import gpucloud_adapters.postgres.migrations.versions as folder


def revisions() -> dict[str, str | None]:
    """Return what each migration comes after, by its number as its file's name gives it."""
    found: dict[str, str | None] = {}
    for file in sorted(Path(folder.__path__[0]).glob("[0-9]*.py")):
        values = {
            node.targets[0].id: ast.literal_eval(node.value)
            for node in ast.parse(file.read_text(encoding="utf-8")).body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id in {"revision", "down_revision"}
        }
        number = file.name[:4]
        assert values["revision"] == number, file.name
        assert number not in found, f"two migrations are called {number}"
        found[number] = values["down_revision"]
    return found


class TestMigrations:
    def test_follow_one_another(self) -> None:
        numbers = list(revisions())

        assert list(revisions().values()) == [None, *numbers[:-1]]
