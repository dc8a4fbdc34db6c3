"""Every component with every example, as ``/_gallery`` shows them.

Examples are data in a ``.toml`` beside each component: the gallery draws them and the tests check
them, so that a component without an example, or an example that no longer draws, is found.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from jinja2 import Environment
from markupsafe import Markup

from gpucloud_web.pages.sample_list import sample_gone, sample_list
from gpucloud_web.rendering import TEMPLATES
from gpucloud_web.status import STATUS

COMPONENTS: Final = TEMPLATES / "components"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One example: a macro with its arguments, or a piece of template for what needs a body."""

    title: str
    html: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """A component with its documentation and its examples."""

    name: str
    says: str
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    kind: str
    states: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryPage:
    """All that ``gallery/index.html`` may know."""

    exhibits: tuple[Exhibit, ...]
    vocabulary: tuple[Vocabulary, ...]

    @classmethod
    def of(cls, env: Environment) -> "GalleryPage":
        return cls(
            exhibits=exhibits(env),
            vocabulary=tuple(
                Vocabulary(kind=kind, states=tuple(states)) for kind, states in STATUS.items()
            ),
        )


def exhibits(env: Environment) -> tuple[Exhibit, ...]:
    """Return every component, drawn."""
    return tuple(_exhibit(env, path.stem) for path in sorted(COMPONENTS.glob("*.html")))


def _exhibit(env: Environment, name: str) -> Exhibit:
    source = (COMPONENTS / f"{name}.html").read_text(encoding="utf-8")
    found = tomllib.loads((COMPONENTS / f"{name}.toml").read_text(encoding="utf-8"))
    return Exhibit(
        name=name,
        says=source.split("-#}", 1)[0].removeprefix("{#-").strip(),
        examples=tuple(
            Example(title=str(row["title"]), html=_draw(env, name, row)) for row in found["example"]
        ),
    )


def _draw(env: Environment, name: str, row: Mapping[str, Any]) -> Markup:
    if "source" in row:
        sample = {"sample_list": sample_list, "sample_gone": sample_gone}
        return Markup(env.from_string(row["source"]).render(sample))  # noqa: S704  autoescaped
    macro = getattr(env.get_template(f"components/{name}.html").module, row["macro"])
    return Markup(macro(**row["args"]))  # noqa: S704  macros escape their arguments
