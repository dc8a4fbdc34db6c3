"""The little language of a slice's shell: words, quotes, variables, sums, ``;`` ``&&`` ``||``.

Parsing is apart from expanding, because ``cd /tmp; echo $PWD`` must see the new folder. What a
real shell would do beyond this (pipes, redirection, substitution) is named and refused, never
half done.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from gpucloud_adapters.simulated.host.arithmetic import count

LINE_MAX: Final = 8192

_JOINERS: Final = ("&&", "||", ";")
_REFUSED: Final = ("$(", "${", "`", "|", "&", "<", ">", "(", ")")
_VARIABLE: Final = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*|\?)")
_SUM: Final = re.compile(r"\$\(\(((?:[\w\s+*/%-]|\([\w\s+*/%-]*\))*)\)\)", re.ASCII)
_ESCAPED_IN_QUOTES: Final = '"\\$`'


class ShellSyntaxError(ValueError):
    """The line cannot be read; the message is what the shell says."""


class NotHereError(ValueError):
    """A real shell could do this; the message is the operator that it needs."""


class Kind(Enum):
    TEXT = "text"  # as it stands
    VARIABLE = "variable"  # the name of one
    SUM = "sum"  # an expression to be counted


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a word."""

    text: str
    kind: Kind = Kind.TEXT

    def expand(self, variables: Mapping[str, str]) -> str:
        match self.kind:
            case Kind.VARIABLE:
                return variables.get(self.text, "")
            case Kind.SUM:
                return str(count(self.text, variables))
            case Kind.TEXT:
                return self.text


Word = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """One command, and how it hangs on the one before: ``;``, ``&&`` or ``||``."""

    joiner: str
    words: tuple[Word, ...]


def parse(line: str) -> tuple[Statement, ...]:
    """Return the statements of ``line``.

    Raises:
        ShellSyntaxError: a quote is open, or a joiner has nothing before it.
        NotHereError: the line needs more than this shell can do.
    """
    if len(line) > LINE_MAX:
        raise ShellSyntaxError("the line is too long")
    reader = _Reader(line)
    while reader.at < len(line):
        reader.step()
    return reader.end()


def expand(words: tuple[Word, ...], variables: Mapping[str, str]) -> list[str]:
    """Return the words with variables and sums put in; an unknown variable is empty.

    Raises:
        BadExpressionError: a sum cannot be counted.
    """
    return ["".join(piece.expand(variables) for piece in word) for word in words]


class _Reader:
    """Reads a line from left to right. ``word`` is None between words."""

    def __init__(self, line: str) -> None:
        self.line = line
        self.at = 0
        self.joiner = ";"
        self.word: list[Piece] | None = None
        self.words: list[Word] = []
        self.statements: list[Statement] = []

    def step(self) -> None:
        rest = self.line[self.at :]
        character = rest[0]
        if character.isspace():
            self._end_word()
            self.at += 1
        elif character == "#" and self.word is None:
            self.at = len(self.line)
        elif joiner := next((each for each in _JOINERS if rest.startswith(each)), None):
            self._end_statement(joiner)
            self.at += len(joiner)
        elif _SUM.match(rest):
            self._plain_or_expanded()
        elif refused := next((each for each in _REFUSED if rest.startswith(each)), None):
            raise NotHereError(refused)
        elif character == "'":
            self._single_quoted()
        elif character == '"':
            self._double_quoted()
        elif character == "\\":
            self._add(Piece(self.line[self.at + 1 : self.at + 2]))
            self.at += 2
        else:
            self._plain_or_expanded()

    def end(self) -> tuple[Statement, ...]:
        self._end_word()
        if self.words:
            self.statements.append(Statement(self.joiner, tuple(self.words)))
        elif self.joiner != ";":
            raise ShellSyntaxError("syntax error: unexpected end of line")
        return tuple(self.statements)

    def _add(self, piece: Piece) -> None:
        if self.word is None:
            self.word = []
        self.word.append(piece)

    def _end_word(self) -> None:
        if self.word is not None:
            self.words.append(tuple(self.word))
            self.word = None

    def _end_statement(self, joiner: str) -> None:
        self._end_word()
        if not self.words:
            raise ShellSyntaxError(f"syntax error near unexpected token `{joiner}'")
        self.statements.append(Statement(self.joiner, tuple(self.words)))
        self.joiner, self.words = joiner, []

    def _single_quoted(self) -> None:
        end = self.line.find("'", self.at + 1)
        if end < 0:
            raise ShellSyntaxError("unexpected EOF while looking for matching `''")
        self._add(Piece(self.line[self.at + 1 : end]))
        self.at = end + 1

    def _double_quoted(self) -> None:
        self._add(Piece(""))
        self.at += 1
        while self.at < len(self.line) and self.line[self.at] != '"':
            following = self.line[self.at + 1 : self.at + 2]
            if self.line[self.at] == "\\" and following and following in _ESCAPED_IN_QUOTES:
                self._add(Piece(following))
                self.at += 2
            elif _SUM.match(self.line, self.at):
                self._plain_or_expanded()
            elif self.line[self.at] == "`" or self.line.startswith(("$(", "${"), self.at):
                raise NotHereError(self.line[self.at : self.at + 2].rstrip('"'))
            else:
                self._plain_or_expanded()
        if self.at >= len(self.line):
            raise ShellSyntaxError("unexpected EOF while looking for matching `\"'")
        self.at += 1

    def _plain_or_expanded(self) -> None:
        if match := _VARIABLE.match(self.line, self.at):
            self._add(Piece(match[1], Kind.VARIABLE))
        elif match := _SUM.match(self.line, self.at):
            self._add(Piece(match[1], Kind.SUM))
        else:
            self._add(Piece(self.line[self.at]))
        self.at = match.end() if match else self.at + 1
