"""ls, cat, cd and pwd over the file tree of a slice."""

import math
import posixpath
from collections.abc import Sequence
from typing import Final

from gpucloud_adapters.simulated.host.interior import FileTree
from gpucloud_adapters.simulated.host.machine_text import columns
from gpucloud_adapters.simulated.host.outcome import Context, Outcome

_LS_OPTIONS: Final = frozenset("la1hA")
_ABSENT: Final = "No such file or directory"


def pwd(context: Context, _arguments: Sequence[str]) -> Outcome:
    return Outcome(text=f"{context.variables['PWD']}\n")


def cd(context: Context, arguments: Sequence[str]) -> Outcome:
    if len(arguments) > 1:
        return Outcome(error="-bash: cd: too many arguments\n", status=1)
    asked = arguments[0] if arguments else "~"
    back = asked == "-"
    path = context.variables.get("OLDPWD", "") if back else context.path(asked)
    if not path:
        return Outcome(error="-bash: cd: OLDPWD not set\n", status=1)
    tree = context.interior.files()
    if not tree.is_folder(path):
        why = "Not a directory" if path in tree.files else _ABSENT
        return Outcome(error=f"-bash: cd: {asked}: {why}\n", status=1)
    context.variables["OLDPWD"] = context.variables["PWD"]
    context.variables["PWD"] = path
    return Outcome(text=f"{path}\n" if back else "")


def cat(context: Context, arguments: Sequence[str]) -> Outcome:
    tree = context.interior.files()
    texts: list[str] = []
    errors: list[str] = []
    for argument in arguments:
        path = context.path(argument)
        if path in tree.files:
            texts.append(tree.files[path])
        else:
            why = "Is a directory" if tree.is_folder(path) else _ABSENT
            errors.append(f"cat: {argument}: {why}\n")
    return Outcome(text="".join(texts), error="".join(errors), status=1 if errors else 0)


def ls(context: Context, arguments: Sequence[str]) -> Outcome:
    options = {letter for each in arguments if each.startswith("-") for letter in each[1:]}
    if unknown := options - _LS_OPTIONS:
        return Outcome(error=f"ls: invalid option -- '{min(unknown)}'\n", status=2)
    asked = [each for each in arguments if not each.startswith("-")] or ["."]
    tree = context.interior.files()
    errors = [
        f"ls: cannot access '{each}': {_ABSENT}\n"
        for each in asked
        if not tree.exists(context.path(each))
    ]
    found = [each for each in asked if tree.exists(context.path(each))]
    texts = [_listed(context, tree, each, options, titled=len(asked) > 1) for each in found]
    return Outcome(text="\n".join(texts), error="".join(errors), status=2 if errors else 0)


def _listed(
    context: Context, tree: FileTree, asked: str, options: set[str], *, titled: bool
) -> str:
    path = context.path(asked)
    if not tree.is_folder(path):
        return _layout(context, tree, [(asked, path)], options)
    names = [name for name in tree.names(path) if options & {"a", "A"} or name[0] != "."]
    entries = [(name, posixpath.join(path, name)) for name in names]
    if "a" in options:
        entries = [(".", path), ("..", posixpath.dirname(path)), *entries]
    title = f"{asked}:\n" if titled else ""
    return title + _layout(context, tree, entries, options)


def _layout(
    context: Context, tree: FileTree, entries: list[tuple[str, str]], options: set[str]
) -> str:
    if not entries:
        return ""
    if "l" in options:
        return columns([_long(context, tree, name, path) for name, path in entries])
    if not context.columns or "1" in options:
        return "".join(f"{name}\n" for name, _ in entries)
    width = max(len(name) for name, _ in entries) + 2
    across = max(1, context.columns // width)
    down = math.ceil(len(entries) / across)
    lines = [[name for name, _ in entries[row::down]] for row in range(down)]
    return "".join("".join(f"{name:<{width}}" for name in line).rstrip() + "\n" for line in lines)


def _long(context: Context, tree: FileTree, name: str, path: str) -> list[str]:
    held = context.interior.held
    folder = tree.is_folder(path)
    mine = path.startswith((context.interior.home, "/workspace"))
    owner = held.spec.username if mine else "root"
    kind = "d" if folder else "c" if path.startswith("/dev/") else "-"
    mode = "rw-------" if path.endswith("authorized_keys") else "rw-r--r--"
    size = 4096 if folder else len(tree.files[path].encode())
    when = f"{held.since:%b %e %H:%M}"
    return [kind + ("rwxr-xr-x" if folder else mode), "1", owner, owner, f"{size:>6}", when, name]
