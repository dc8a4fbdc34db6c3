"""Every template compiles and has a title, nothing is inline, and every example draws.

Undefined names are errors, so an example that draws proves that its component and its data agree.
"""

import re
from pathlib import Path

import pytest
from jinja2 import Environment, UndefinedError

from gpucloud_web.gallery import GalleryPage, exhibits
from gpucloud_web.navigation import GROUPS
from gpucloud_web.rendering import (
    TEMPLATES,
    Assets,
    AssetsMissing,
    Renderer,
    content_security_policy,
    environment,
)
from gpucloud_web.shell import Frame
from gpucloud_web.status import STATUS

ROOT = Path(__file__).resolve().parents[3]
NAMES = {
    name: name
    for name in (
        "app.css",
        "app.js",
        "charts.css",
        "charts.js",
        "icons.svg",
        "terminal.css",
        "terminal.js",
    )
}
PATHS = sorted(path.relative_to(TEMPLATES).as_posix() for path in TEMPLATES.rglob("*.html"))
STEPS = {"hardware", "capacity", "image", "network", "access", "review"}


@pytest.fixture(scope="module")
def env() -> Environment:
    return environment(Assets(names=NAMES))


class TestTemplate:
    @pytest.mark.parametrize("path", PATHS)
    def test_compiles(self, env: Environment, path: str) -> None:
        env.get_template(path)

    @pytest.mark.parametrize("path", PATHS)
    def test_has_nothing_inline(self, path: str) -> None:
        source = (TEMPLATES / path).read_text(encoding="utf-8")

        assert not re.search(r"\sstyle\s*=", source)
        assert not re.search(r"\son[a-z]+\s*=", source)
        assert not re.search(r"<script(?![^>]*\ssrc=)", source)
        assert "<style" not in source

    @pytest.mark.parametrize("path", PATHS)
    def test_has_a_title_if_it_is_a_page(self, path: str) -> None:
        source = (TEMPLATES / path).read_text(encoding="utf-8")

        if "{% extends" in source and not path.startswith("layouts/"):
            assert "{% block title %}" in source

    @pytest.mark.parametrize("path", PATHS)
    def test_is_short_enough_to_read(self, path: str) -> None:
        assert len((TEMPLATES / path).read_text(encoding="utf-8").splitlines()) <= 120


class TestComponents:
    def test_have_documentation_and_an_example_each(self, env: Environment) -> None:
        for exhibit in exhibits(env):
            assert exhibit.says, exhibit.name
            assert exhibit.examples, exhibit.name
            assert all(example.html.strip() for example in exhibit.examples), exhibit.name

    def test_have_an_example_for_every_macro(self) -> None:
        for path in (TEMPLATES / "components").glob("*.html"):
            source = path.read_text(encoding="utf-8")
            examples = path.with_suffix(".toml").read_text(encoding="utf-8")
            for macro in re.findall(r"macro ([a-z]\w*)\(", source):
                shown = f'"{macro}"' in examples or f" {macro}(" in examples
                assert shown or _is_used_by_a_sibling(macro, source), f"{path.stem}.{macro}"

    def test_draw_the_whole_gallery(self, env: Environment) -> None:
        renderer = Renderer(env=env)
        html = renderer.page("gallery/index.html", frame=Frame(), page=GalleryPage.of(env))

        assert "<title>Components · gpucloud</title>" in html
        assert html.count('class="gc-status"') > sum(len(rows) for rows in STATUS.values())

    def test_escape_what_people_typed(self, env: Environment) -> None:
        badge = getattr(env.get_template("components/status.html").module, "badge")  # noqa: B009

        assert "<b>" not in str(badge("idle", "x", "<b>bold</b>"))

    def test_refuse_a_name_they_were_not_given(self, env: Environment) -> None:
        band = getattr(env.get_template("components/kpi.html").module, "kpi_band")  # noqa: B009

        with pytest.raises(UndefinedError):
            band([{"label": "Burn rate"}])


def _is_used_by_a_sibling(macro: str, source: str) -> bool:
    return source.count(f"{macro}(") > 1


class TestIcons:
    def test_are_all_in_the_sprite(self, env: Environment) -> None:
        listed = {
            line.strip()
            for line in (ROOT / "web" / "icons.txt").read_text(encoding="utf-8").splitlines()
            if line and not line.startswith("#")
        }
        used = {look.icon for rows in STATUS.values() for look in rows.values()}
        used |= {page.icon for group in GROUPS for page in group.pages}
        sources = [path.read_text(encoding="utf-8") for path in TEMPLATES.rglob("*.html")]
        modules = ROOT / "src" / "gpucloud_web"
        sources += [path.read_text(encoding="utf-8") for path in modules.rglob("*.py")]
        for source in sources:
            used |= set(re.findall(r"\bicon\(\s*\"([a-z0-9-]+)\"", source))
            used |= set(re.findall(r"\bicon(?:_name)?=\"([a-z0-9-]+)\"", source))
        drawn = " ".join(str(example.html) for one in exhibits(env) for example in one.examples)
        used |= set(re.findall(r"icons\.svg#([a-z0-9-]+)", drawn))

        assert used <= listed


class TestAssets:
    def test_know_the_hashed_names(self, tmp_path: Path) -> None:
        (tmp_path / "manifest.json").write_text('{"app.js": "app-1a2b.js"}', encoding="utf-8")

        assert Assets.read(tmp_path).url("app.js") == "/static/build/app-1a2b.js"

    def test_say_what_makes_them_when_they_are_missing(self, tmp_path: Path) -> None:
        with pytest.raises(AssetsMissing, match="make assets"):
            Assets.read(tmp_path)


class TestPolicy:
    def test_allows_our_own_scripts_and_styles_only(self) -> None:
        policy = content_security_policy("n0nce", ("https://pay.example",))

        assert "script-src 'self';" in policy
        assert "style-src 'self' 'nonce-n0nce';" in policy
        assert "form-action 'self' https://pay.example" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
