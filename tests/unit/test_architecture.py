"""The house rules that no linter knows: who may know what, and what may be committed.

Each rule names its exceptions, with the reason, in one table; a test holds that each exception is
still needed. Seen to fail when the core imported ``uuid`` for ids of its own, when a handler asked
``datetime.now`` for the time, and when a lock file named the server it came from.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from functools import cache
from pathlib import Path
from typing import Final

import pytest

REPOSITORY: Final = Path(__file__).parent.parent.parent
SOURCE: Final = REPOSITORY / "src"

PURE: Final = {
    "gpucloud_core": ("gpucloud_core",),
    "gpucloud_adapters/memory": (
        "gpucloud_core",
        "gpucloud_adapters.memory",
        "gpucloud_adapters.stored",
    ),
    "gpucloud_adapters/stored": ("gpucloud_core", "gpucloud_adapters.stored"),
}
"""What the bare wheel must run: folders, and the packages besides Python's own they may import."""

IMPURE_MODULES: Final = frozenset({"random", "secrets", "socket", "subprocess", "time", "uuid"})
"""Parts of Python that touch the world: the core gets at it through ports alone."""

WALL_CLOCKS: Final = frozenset(
    {"datetime.now", "datetime.today", "datetime.utcnow", "date.today", "time.time", "time.time_ns"}
)
MAY_ASK_THE_TIME: Final = {
    "gpucloud_adapters/system.py": "it is the clock",
    "gpucloud_adapters/ssh/node": "runs on the node, on the node's own clock",
}
MAY_READ_THE_ENVIRONMENT: Final = {
    "gpucloud_adapters/cli.py": "a program: hands it to the settings",
    "gpucloud_adapters/demo.py": "a program: hands it to the settings",
    "gpucloud_adapters/postgres/migrate.py": "a program: needs one address and no more",
    "gpucloud_adapters/simulated/stripe_server.py": "a program: hands it to the settings",
    "gpucloud_adapters/ssh/node/main.py": "runs on the node; sshd says there what was asked for",
    "gpucloud_web/app.py": "the server calls it without arguments",
    "gpucloud_workers/__main__.py": "a program: hands it to the settings",
}
MAY_COMMIT: Final = {
    "gpucloud_adapters/postgres/unit.py": "leaving a unit of work commits",
}


@cache
def modules(folder: str = "") -> tuple[tuple[str, ast.Module], ...]:
    """Return each module below ``folder``, with its path from the source folder."""
    return tuple(
        (file.relative_to(SOURCE).as_posix(), ast.parse(file.read_text(encoding="utf-8")))
        for file in sorted((SOURCE / folder).rglob("*.py"))
    )


def imports(tree: ast.Module) -> Iterator[str]:
    """Give the full name of each module imported anywhere in ``tree``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield node.module or ""


def dotted(node: ast.AST) -> str:
    """Return ``a.b.c`` for such an expression, and nothing for any other."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def uses(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield dotted(node), node.lineno


def strays(found: Mapping[str, list[int]], allowed: Mapping[str, str]) -> list[str]:
    return [
        f"{module}:{lines[0]}"
        for module, lines in found.items()
        if not any(module == place or module.startswith(f"{place}/") for place in allowed)
    ]


def places(names: frozenset[str]) -> dict[str, list[int]]:
    """Return the modules that use one of these dotted names (by their ends), with the lines."""
    found: dict[str, list[int]] = {}
    for module, tree in modules():
        for name, line in uses(tree):
            if name in names or any(name.endswith(f".{each}") for each in names):
                found.setdefault(module, []).append(line)
    return found


class TestThePureParts:
    @pytest.mark.parametrize("folder", PURE)
    def test_import_only_python_and_each_other(self, folder: str) -> None:
        strangers = [
            f"{module} imports {name}"
            for module, tree in modules(folder)
            for name in imports(tree)
            if name.partition(".")[0] not in sys.stdlib_module_names
            and not any(name == own or name.startswith(f"{own}.") for own in PURE[folder])
        ]

        assert strangers == []

    def test_reach_the_world_through_ports_alone(self) -> None:
        reaching = [
            f"{module} imports {name}"
            for module, tree in modules("gpucloud_core")
            for name in imports(tree)
            if name.partition(".")[0] in IMPURE_MODULES
        ]

        assert reaching == []

    def test_are_all_there(self) -> None:
        assert all((SOURCE / folder / "__init__.py").exists() for folder in PURE)


class TestOneWriterPerFact:
    RULES: Final = {
        "wall clock": (WALL_CLOCKS, MAY_ASK_THE_TIME),
        "environment": (frozenset({"os.environ", "os.getenv"}), MAY_READ_THE_ENVIRONMENT),
        "commit": (frozenset({"connection.commit", "session.commit"}), MAY_COMMIT),
    }

    @pytest.mark.parametrize("rule", RULES)
    def test_nobody_else(self, rule: str) -> None:
        names, allowed = self.RULES[rule]

        assert strays(places(names | {f"_{name}" for name in names}), allowed) == []

    @pytest.mark.parametrize("rule", RULES)
    def test_no_exception_is_left_over(self, rule: str) -> None:
        names, allowed = self.RULES[rule]
        found = places(names | {f"_{name}" for name in names})

        assert [
            place for place in allowed if not any(each.startswith(place) for each in found)
        ] == []


class TestEveryModule:
    def test_says_what_it_is_for(self) -> None:
        silent = [module for module, tree in modules() if not ast.get_docstring(tree)]

        assert silent == []


class TestTheLadder:
    def test_stands_in_the_docs_as_it_is_held(self) -> None:
        contracts = ConfigParser()
        contracts.read(REPOSITORY / ".importlinter")
        held = contracts["importlinter:contract:concepts"]["layers"].split("\n")
        drawn = (REPOSITORY / "docs/architecture.md").read_text().partition("gpucloud_core:")[2]
        rungs = re.findall(r"│ ([a-z |]+?) *│", drawn.partition("└")[0])

        assert rungs == [layer for layer in held if layer]


class TestThePackage:
    def test_needs_nothing_unless_an_extra_is_asked_for(self) -> None:
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]

        assert project["dependencies"] == []

    def test_allows_only_what_it_was_locked_with(self) -> None:
        runtime = locked("runtime.txt")
        dev = locked("dev.txt")

        assert runtime.items() <= dev.items()


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """What is committed, or would be, by path."""
    listed = subprocess.run(
        ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    files = [REPOSITORY / name for name in listed.stdout.split("\0") if name]
    return {
        file.relative_to(REPOSITORY).as_posix(): file.read_text(errors="ignore")
        for file in files
        if file.is_file() and file.suffix not in {".png", ".woff2", ".ico"}
    }


class TestWhatIsCommitted:
    def test_names_no_path_of_this_machine(self, texts: dict[str, str]) -> None:
        if len(REPOSITORY.parts) <= 2:
            pytest.skip("this checkout's path is too short to mean anything")
        here = re.compile(rf"(?<![\w.-]){re.escape(str(REPOSITORY))}\b")

        assert [name for name, text in texts.items() if here.search(text)] == []

    def test_locks_name_no_server(self, texts: dict[str, str]) -> None:
        locks = {name: text for name, text in texts.items() if name.startswith("requirements/")}
        named = [name for name, text in locks.items() if "://" in text or "index" in text.split()]

        assert set(locks) >= {"requirements/dev.txt", "requirements/runtime.txt"}
        assert named == []
        assert '"resolved"' not in texts["package-lock.json"]

    def test_locks_hold_a_hash_for_everything(self) -> None:
        assert all(locked("runtime.txt").values())


def locked(name: str) -> dict[str, str]:
    """Return the pinned requirements of a lock file, each with its hashes."""
    text = (REPOSITORY / "requirements" / name).read_text().replace("\\\n", " ")
    lines = (line.split(" ", 1) for line in text.splitlines() if "==" in line)
    return {
        pin.strip(): " ".join(sorted(re.findall("sha256:[0-9a-f]{64}", rest)))
        for pin, rest in lines
    }
