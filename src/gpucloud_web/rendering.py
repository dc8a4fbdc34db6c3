"""Templates to HTML: one Jinja environment, undefined names are errors, nothing inline.

A page gets ``frame`` (theme, nonce, address), ``shell`` (menu, meter; signed-in pages only) and
``page`` (one frozen view row of strings, numbers and flags). The content security policy forbids
inline scripts and style attributes, so templates have neither.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from gpucloud_web import formats
from gpucloud_web.shell import Frame, Shell
from gpucloud_web.status import look_of

HERE: Final = Path(__file__).parent
TEMPLATES: Final = HERE / "templates"
BUILD: Final = HERE / "static" / "build"
STATIC_URL: Final = "/static/build/"


class AssetsMissing(RuntimeError):
    """The web assets are not built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assets:
    """Plain names of built files to the addresses that carry their content's hash."""

    names: Mapping[str, str]
    base: str = STATIC_URL

    @classmethod
    def read(cls, folder: Path = BUILD) -> "Assets":
        """Read the manifest that the asset build wrote.

        Raises:
            AssetsMissing: there is none; ``make assets`` makes it.
        """
        manifest = folder / "manifest.json"
        try:
            return cls(names=json.loads(manifest.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise AssetsMissing(f"{manifest} is missing: run `make assets`") from None

    def url(self, name: str) -> str:
        """Return the address of a built file; an unknown name is a ``KeyError``."""
        return self.base + self.names[name]


def environment(assets: Assets) -> Environment:
    """Return the environment that every page and component is rendered with."""
    return _environment(tuple(sorted(assets.names.items())), assets.base)


@lru_cache(maxsize=4)
def _environment(names: tuple[tuple[str, str], ...], base: str) -> Environment:
    """Compile templates once per set of assets, however many applications there are."""
    assets = Assets(names=dict(names), base=base)
    env = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    env.globals |= {
        "asset": assets.url,
        "look_of": look_of,
        "UNKNOWN": formats.UNKNOWN,
    }
    return env


@dataclass(frozen=True, slots=True, kw_only=True)
class Renderer:
    """Draws pages.

    Attributes:
        form_targets: origins besides ours that a form may end at (the payment provider's page).
    """

    env: Environment
    form_targets: tuple[str, ...] = ()

    @classmethod
    def of(cls, assets: Assets, *, form_targets: tuple[str, ...] = ()) -> "Renderer":
        return cls(env=environment(assets), form_targets=form_targets)

    def page(self, template: str, *, frame: Frame, page: object, shell: Shell | None = None) -> str:
        """Return the HTML of a whole page."""
        return self.env.get_template(template).render(frame=frame, shell=shell, page=page)

    def headers(self, frame: Frame) -> dict[str, str]:
        """Return the headers that a page adds to those every answer gets at the edge."""
        return {
            "Content-Security-Policy": content_security_policy(frame.nonce, self.form_targets),
            "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        }


def content_security_policy(nonce: str, form_targets: tuple[str, ...] = ()) -> str:
    """Return the policy of a page: our own files only, style elements only with the nonce."""
    targets = " ".join(("'self'", *form_targets))
    return "; ".join(
        (
            "default-src 'self'",
            "script-src 'self'",
            f"style-src 'self' 'nonce-{nonce}'" if nonce else "style-src 'self'",
            "img-src 'self' data:",
            "font-src 'self'",
            "connect-src 'self'",
            "object-src 'none'",
            "base-uri 'none'",
            f"form-action {targets}",
            "frame-ancestors 'none'",
        )
    )
