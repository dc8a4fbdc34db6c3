"""What a command is given and what it gives back."""

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gpucloud_adapters.simulated.host.interior import Interior, absolute

Frame: TypeAlias = Callable[[int, int], str]
"""Draws a screen of so many columns and rows; lines end with a line feed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of a command. With ``live`` it has a screen, drawn again until someone quits."""

    text: str = ""
    error: str = ""
    status: int = 0
    live: Frame | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """The slice, and the shell's own variables, which ``cd`` changes.

    ``columns`` is the terminal's width; 0 without a terminal.
    """

    interior: Interior
    variables: MutableMapping[str, str]
    columns: int = 0

    def path(self, text: str) -> str:
        """Return the absolute path that ``text`` means here."""
        return absolute(text, cwd=self.variables["PWD"], home=self.interior.home)


Command: TypeAlias = Callable[[Context, Sequence[str]], Outcome]
