"""A person with a browser that runs no JavaScript, over a cloud in memory."""

import re
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser
from typing import Any

from httpx import Response
from litestar.testing import AsyncTestClient

from api_world import ORIGIN
from gpucloud_adapters.memory.cloud import MemoryCloud
from gpucloud_core.kernel.unit import Scope
from gpucloud_web.edge import SESSION_COOKIE

_PLATFORM = Scope.platform()
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ada"


@dataclass
class PageVisitor:
    """Reads pages, fills in their forms, keeps their cookies."""

    cloud: MemoryCloud
    client: AsyncTestClient[Any]
    cookies: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str) -> Response:
        return self._kept(await self.client.get(path, headers=self._headers()))

    async def post(self, path: str, fields: dict[str, Any]) -> Response:
        headers = self._headers() | {"Origin": ORIGIN}
        return self._kept(await self.client.post(path, data=fields, headers=headers))

    async def submit(self, page: Response, action: str, fields: dict[str, Any]) -> Response:
        """Send the page's form for ``action`` with its hidden inputs and what was filled in."""
        return await self.post(action, hidden_inputs(page.text, action) | fields)

    async def fill(self, page: Response, action: str, fields: dict[str, Any]) -> Response:
        """Send the page's form as a browser does: what it shows, but for what was filled in."""
        return await self.post(action, FormReader.of(page.text, action) | fields)

    async def follow(self, answer: Response) -> Response:
        assert answer.status_code == 303, answer.text
        return await self.get(answer.headers["location"])

    async def sign_up(self, username: str) -> Response:
        password = f"{username}'s long password"
        return await self.post("/login/new", {"username": username, "password": password})

    async def arrive(self, username: str = "ada", *, dollars: int = 100) -> "PageVisitor":
        """Sign up, with money and a key."""
        assert (await self.sign_up(username)).status_code == 303
        async with self.cloud.transactions.begin(_PLATFORM) as unit:
            (user,) = await unit.users.find(username_key=username)
            (member,) = await unit.tenant_members.find(user_id=user.id)
        if dollars:
            await self.cloud.give(self.cloud.operator(member.tenant_id), dollars * 1_000_000)
            await self.post("/access/ssh-keys", {"public_key": KEY, "name": "laptop"})
        return self

    def _headers(self) -> dict[str, str]:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {"Accept": "text/html"} | ({"Cookie": cookie} if cookie else {})

    def _kept(self, answer: Response) -> Response:
        for line in answer.headers.get_list("set-cookie"):
            name, _, value = line.split(";", 1)[0].partition("=")
            self.cookies[name] = value.strip('"')
            if "Max-Age=0" in line:
                del self.cookies[name]
        return answer

    @property
    def is_signed_in(self) -> bool:
        return SESSION_COOKIE in self.cookies


class FormReader(HTMLParser):
    """Reads what a form holds as it is drawn."""

    def __init__(self, action: str) -> None:
        super().__init__()
        self.action, self.within = action, False
        self.fields: dict[str, list[str]] = {}
        self.select, self.area = "", ""

    @classmethod
    def of(cls, html: str, action: str) -> dict[str, list[str]]:
        reader = cls(action)
        reader.feed(html)
        return reader.fields

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        name, value = known.get("name") or "", known.get("value") or ""
        if tag == "form":
            self.within = known.get("action") == self.action and known.get("method") == "post"
        if not self.within:
            return
        if tag == "input" and name:
            ticked = known.get("type") not in {"checkbox", "radio"} or "checked" in known
            if ticked and known.get("type") != "file":
                self.fields.setdefault(name, []).append(
                    value or ("on" if "checked" in known else "")
                )
        elif tag in {"select", "textarea"}:
            self.select, self.area = (name, "") if tag == "select" else ("", name)
            if tag == "textarea":
                self.fields[name] = [""]
        elif (
            tag == "option"
            and self.select
            and ("selected" in known or not self.fields.get(self.select))
        ):
            self.fields[self.select] = [value]

    def handle_data(self, data: str) -> None:
        if self.within and self.area:
            self.fields[self.area] = [self.fields[self.area][0] + data]

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.within = False
        if tag in {"select", "textarea"}:
            self.select = self.area = ""


def hidden_inputs(html: str, action: str) -> dict[str, str]:
    """Return the hidden inputs of the form that posts to ``action``."""
    for form in re.findall(r"<form\b.*?</form>", html, re.DOTALL):
        if f'action="{action}"' in form and 'method="post"' in form:
            found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form)
            return {name: unescape(value) for name, value in found}
    raise AssertionError(f"no form posts to {action}")


def links(html: str) -> set[str]:
    """Return every address a page leads to, without fragments."""
    return {
        unescape(href).partition("#")[0] for href in re.findall(r'<a\b[^>]*href="([^"]+)"', html)
    }


def title_of(html: str) -> str:
    found = re.search(r"<title>(.*?)</title>", html)
    assert found, "a page has a title"
    return unescape(found.group(1))


def heading_of(html: str) -> str:
    found = re.findall(r"<h1\b[^>]*>(.*?)</h1>", html)
    assert len(found) == 1, f"a page has one h1, not {found}"
    return unescape(found[0])


async def launched(ada: PageVisitor, name: str = "sft-llama", **fields: str) -> str:
    """Go through the wizard and return the task's address."""
    page = await ada.get("/launch?sku=h200-sxm&gpu_count=2&step=review")
    answer = await ada.submit(page, "/launch", {"go": "launch", "name": name, **fields})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def workload_in(html: str) -> str:
    return next(link for link in links(html) if re.fullmatch(r"/workloads/alc_\w+", link))
