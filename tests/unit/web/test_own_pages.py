"""A person's own pages, without JavaScript: SSH keys, sessions, choices of this browser."""

import re

import pytest

from gpucloud_adapters.memory.cloud import MemoryCloud
from gpucloud_web.pages.access_rows import agent_words
from page_visitor import KEY, PageVisitor, heading_of, links


class TestKeys:
    async def test_are_added_once_and_deleted_after_a_question(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        twice = await visitor.post("/access/ssh-keys", {"public_key": KEY, "name": "again"})
        assert twice.status_code == 409
        assert KEY in twice.text

        page = await visitor.get("/access/ssh-keys")
        delete = next(link for link in links(page.text) if link.endswith("/delete"))
        ask = await visitor.get(delete)
        assert "Delete the key" in heading_of(ask.text)
        await visitor.submit(ask, delete, {})

        assert "No key yet" in (await visitor.get("/access/ssh-keys")).text

    async def test_send_one_back_to_where_the_key_was_needed(self, visitor: PageVisitor) -> None:
        await visitor.arrive(dollars=0)
        page = await visitor.get("/access/ssh-keys?next=/launch%3Fstep%3Daccess")
        answer = await visitor.submit(page, "/access/ssh-keys", {"public_key": KEY})

        assert answer.headers["location"] == "/launch?step=access"


class TestAccount:
    async def test_lists_sessions_and_ends_another(
        self, visitor: PageVisitor, cloud: MemoryCloud
    ) -> None:
        await visitor.arrive()
        other = PageVisitor(cloud, visitor.client)
        await other.post("/login", {"username": "ada", "password": "ada's long password"})
        page = await visitor.get("/account")
        (end,) = re.findall(r'action="(/account/sessions/ses_\w+/end)"', page.text)

        assert (await visitor.post(end, {})).status_code == 303
        assert (await other.get("/account")).headers["location"].startswith("/login")

    async def test_remembers_the_theme_without_a_script(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        answer = await visitor.post("/preferences/theme", {"theme": "dark", "back": "/billing"})

        assert answer.headers["location"] == "/billing"
        assert 'data-bs-theme="dark"' in (await visitor.get("/billing")).text
        await visitor.post("/preferences/theme", {"theme": "system", "back": "/account"})
        assert "data-bs-theme" not in (await visitor.get("/account")).text

    async def test_turns_shortcuts_off_without_a_script(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        on = 'name="shortcuts" value="on" aria-pressed="true"'
        assert on in (await visitor.get("/account")).text
        await visitor.post("/preferences/shortcuts", {"shortcuts": "off", "back": "/account"})

        assert on not in (await visitor.get("/account")).text


class TestPassword:
    async def test_is_changed_where_the_account_leads(self, visitor: PageVisitor) -> None:
        await visitor.arrive()
        place = "/account/password"
        assert place in links((await visitor.get("/account")).text)
        fields = {"current_password": "ada's long password", "new_password": "another long one"}
        form = await visitor.get(place)

        wrong = await visitor.submit(form, place, {**fields, "current_password": "no"})
        assert wrong.status_code == 422
        assert "This is not your present password." in wrong.text
        assert "another long one" not in wrong.text

        done = await visitor.follow(await visitor.submit(form, place, fields))
        assert "Your password is changed." in done.text
        await visitor.post("/logout", {})
        again = {"username": "ada", "password": "another long one"}
        assert (await visitor.post("/login", again)).status_code == 303


class TestAgentWords:
    @pytest.mark.parametrize(
        ("agent", "words"),
        [
            ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/139.0", "Chrome on Linux"),
            (
                "Mozilla/5.0 (Windows NT 10.0) Chrome/139.0 Safari/537.36 Edg/139.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18) Version/18.0 Safari/604.1",
                "Safari on iPhone",
            ),
            ("Mozilla/5.0 (Linux; Android 16) Gecko Firefox/141.0", "Firefox on Android"),
            ("curl/8.9.1", "curl/8.9.1"),
        ],
    )
    def test_name_the_browser_and_the_system(self, agent: str, words: str) -> None:
        assert agent_words(agent) == words
