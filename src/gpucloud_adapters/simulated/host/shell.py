"""The shell of a slice, without its terminal: lines in, outcomes out.

It keeps what a shell keeps (folder, variables, last status) and knows nothing of SSH, so that an
exec request, an interactive session and a test all use the same one.
"""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gpucloud_adapters.simulated.host.arithmetic import BadExpressionError
from gpucloud_adapters.simulated.host.commands import EXITS, commands_of
from gpucloud_adapters.simulated.host.grammar import (
    NotHereError,
    ShellSyntaxError,
    Statement,
    expand,
    parse,
)
from gpucloud_adapters.simulated.host.interior import Interior, absolute
from gpucloud_adapters.simulated.host.outcome import Context, Outcome

NOT_FOUND: Final = 127
_SYNTAX: Final = 2


@dataclass(frozen=True, slots=True)
class Completion:
    """What Tab does: the line and cursor after it, and what to show when it is not decided."""

    line: str
    cursor: int
    choices: tuple[str, ...] = ()


class Shell:
    """One login in a slice."""

    def __init__(self, interior: Interior, *, terminal: str | None = None) -> None:
        self.interior = interior
        self._commands = commands_of(interior)
        self.columns = 80 if terminal else 0
        self.status = 0
        self.ended = False
        spec = interior.held.spec
        self._variables = {
            "HOME": interior.home,
            "HOSTNAME": spec.hostname,
            "LANG": "C.UTF-8",
            "LOGNAME": spec.username,
            **_visible(interior),
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PWD": interior.home,
            "SHELL": "/bin/bash",
            "USER": spec.username,
        } | ({"TERM": terminal} if terminal else {})

    @property
    def prompt(self) -> str:
        spec = self.interior.held.spec
        cwd, home = self._variables["PWD"], self.interior.home
        place = f"~{cwd[len(home) :]}" if cwd == home or cwd.startswith(f"{home}/") else cwd
        return (
            "\x1b[2m[simulated]\x1b[0m "
            f"\x1b[32m{spec.username}@{spec.hostname}\x1b[0m:\x1b[34m{place}\x1b[0m$ "
        )

    def run(self, line: str) -> Iterator[Outcome]:
        """Yield the outcome of each command of ``line`` as it ends."""
        try:
            statements = parse(line)
        except ShellSyntaxError as error:
            yield self._ended(Outcome(error=f"-bash: {error}\n", status=_SYNTAX))
        except NotHereError as error:
            yield self._ended(
                Outcome(error=f"{error}: not on a simulated node\n", status=NOT_FOUND)
            )
        else:
            for statement in statements:
                if self.ended:
                    return
                if self._is_due(statement):
                    yield self._ended(self._command(statement))

    def _is_due(self, statement: Statement) -> bool:
        match statement.joiner:
            case "&&":
                return self.status == 0
            case "||":
                return self.status != 0
            case _:
                return True

    def _command(self, statement: Statement) -> Outcome:
        try:
            name, *arguments = expand(statement.words, self._variables | {"?": str(self.status)})
        except BadExpressionError as error:
            return Outcome(error=f"-bash: {error}\n", status=1)
        if name in EXITS:
            self.ended = True
            status = int(arguments[0]) & 0xFF if arguments and arguments[0].isdigit() else None
            return Outcome(status=self.status if status is None else status)
        command = self._commands.get(posixpath.basename(name))
        if command is None:
            return Outcome(error=f"{name}: not on a simulated node\n", status=NOT_FOUND)
        return command(Context(self.interior, self._variables, self.columns), arguments)

    def _ended(self, outcome: Outcome) -> Outcome:
        self.status = outcome.status
        return outcome

    def complete(self, line: str, cursor: int) -> Completion:
        """Return what Tab makes of ``line``: the first word is a command, the others paths."""
        before, after = line[:cursor], line[cursor:]
        start = max(before.rfind(separator) for separator in " ;&|") + 1
        word = before[start:]
        first = not before[:start].rstrip() or before[:start].rstrip()[-1] in ";&|"
        choices = self._names(word) if first else self._paths(word)
        if not choices:
            return Completion(line, cursor)
        common = posixpath.commonprefix(choices)
        if len(choices) == 1 and not common.endswith("/"):
            common += " "
        grown = before[:start] + common + after
        shown = () if len(common) > len(word) else tuple(map(_last_part, choices))
        return Completion(grown, start + len(common), shown)

    def _names(self, word: str) -> list[str]:
        return sorted(name for name in (*self._commands, *EXITS) if name.startswith(word))

    def _paths(self, word: str) -> list[str]:
        head, slash, tail = word.rpartition("/")
        cwd, home = self._variables["PWD"], self.interior.home
        folder = absolute(head + slash or ".", cwd=cwd, home=home)
        tree = self.interior.files()
        return [
            f"{head}{slash}{name}{'/' if tree.is_folder(posixpath.join(folder, name)) else ''}"
            for name in tree.names(folder)
            if name.startswith(tail) and (tail or not name.startswith("."))
        ]


def _visible(interior: Interior) -> dict[str, str]:
    """Return how each vendor's runtime names the devices that a process may use."""
    if interior.is_amd:
        return {"ROCR_VISIBLE_DEVICES": ",".join(map(str, range(len(interior.gpus))))}
    return {"NVIDIA_VISIBLE_DEVICES": ",".join(gpu.uuid for gpu in interior.gpus)}


def _last_part(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2] + ("/" if path.endswith("/") else "")
