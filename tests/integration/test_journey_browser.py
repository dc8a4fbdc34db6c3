"""A person with a browser: from sign-up to a shell on a slice, to the receipt.

Everything is as ``make run`` starts it. Seen to fail when the terminal's token was put into the
address, when the slice's shell listed all GPUs of its node, and when the return page credited.
"""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from world.browser import Visitor, chromium, chromium_version
from world.running_cloud import RunningCloud

pytestmark = [pytest.mark.needs_chromium, pytest.mark.timeout(240)]

CARD = {"number": "4242 4242 4242 4242", "expiry": "12 / 34", "cvc": "123", "name": "Ada Okafor"}


@pytest.fixture
async def ada(cloud: RunningCloud, real_parts: dict[str, str]) -> AsyncIterator[Visitor]:
    real_parts["Chromium"] = chromium_version()
    async with chromium() as browser, Visitor.arrive(browser, cloud.url) as visitor:
        visitor.page.set_default_timeout(20_000)
        yield visitor
        assert visitor.complaints == []


def public_key(folder: Path) -> str:
    path = folder / "id_ed25519"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada@laptop", "-f", str(path)],
        check=True,
    )
    return path.with_suffix(".pub").read_text(encoding="ascii")


class TestJourney:
    async def test_goes_from_sign_up_to_the_receipt(
        self, ada: Visitor, cloud: RunningCloud, tmp_path: Path
    ) -> None:
        await self._sign_up(ada)
        await self._add_money(ada)
        await self._add_key(ada, public_key(tmp_path))
        await self._launch(ada)
        uuids = await self._type_in_the_terminal(ada)
        await self._ssh_from_outside(ada, tmp_path, uuids)
        await self._release(ada)

    async def _sign_up(self, ada: Visitor) -> None:
        page = ada.page
        await ada.go("/")
        await expect(page).to_have_url(re.compile("/login"))
        await ada.press("Create an account")
        await page.get_by_label("Username").fill("ada-okafor")
        await page.get_by_label("Password").first.fill("a long enough phrase")
        await ada.press("Create account")
        await expect(page.get_by_role("heading", name="Add funds to get started")).to_be_visible()

    async def _add_money(self, ada: Visitor) -> None:
        page = ada.page
        await ada.go("/billing")
        await page.get_by_label("Amount", exact=True).fill("100")
        await ada.press("Continue to payment")
        for field, text in CARD.items():
            await page.locator(f"[name={field}]").fill(text)
        await page.get_by_role("button", name=re.compile("Pay")).click()
        await expect(page).to_have_url(re.compile("/billing/return"))
        await expect(page.get_by_text("$100.00").first).to_be_visible()
        await expect(page.locator("#outcome")).to_contain_text("Paid.", timeout=15_000)

    async def _add_key(self, ada: Visitor, key: str) -> None:
        page = ada.page
        await ada.go("/access/ssh-keys")
        await page.get_by_label("Name optional").fill("laptop")
        await page.get_by_label("Public key").fill(key)
        await ada.press("Add key")
        await expect(page.get_by_text("SHA256:").first).to_be_visible()

    async def _launch(self, ada: Visitor) -> None:
        page = ada.page
        await ada.go("/infra/catalog")
        name = page.get_by_text("H200 SXM 141 GB", exact=True)
        card = page.locator("section.card", has=name)
        await card.get_by_role("link", name="Launch", exact=True).click()
        await expect(page).to_have_url(re.compile("/launch"))
        await page.locator("label.opt", has_text="$6.58").click()
        await ada.press("Image")
        await page.locator("label.opt", has_text="PyTorch").click()
        await ada.press("Network")
        await page.get_by_label("Who may reach SSH").fill("127.0.0.0/8")
        await ada.press("Access")
        await page.get_by_label("laptop").check()
        await page.locator("#launch button[name=go]").click()
        await page.get_by_label("Name").fill("first-light")
        await page.locator(".quote").get_by_role("button", name=re.compile("^Launch")).click()
        await expect(page).to_have_url(re.compile("/tasks/tsk_"))
        await expect(page.get_by_text("Pass the health gate").first).to_be_visible()
        await page.get_by_role("link", name=re.compile("Open workload")).click(timeout=40_000)
        await expect(page).to_have_url(re.compile("/workloads/alc_"))
        await expect(page.locator(".phead").get_by_text("Active", exact=True)).to_be_visible()

    async def _type_in_the_terminal(self, ada: Visitor) -> list[str]:
        page = ada.page
        await ada.press("Open terminal")
        screen = page.locator("dialog#terminal .xterm-rows")
        await expect(screen).to_contain_text("[simulated]", timeout=15_000)
        await page.locator("dialog#terminal .xterm-helper-textarea").press_sequentially(
            "nvidia-smi -L\n"
        )
        await expect(screen).to_contain_text("GPU 1: NVIDIA H200")
        text = await screen.inner_text()
        await page.keyboard.press("Control+Shift+F6")
        await page.locator("dialog#terminal").get_by_role("button", name="Close").click()
        found = re.findall(r"UUID:\s*(GPU-[0-9a-f-]{36})", text.replace("\n", ""))
        assert len(found) == 2, text
        assert "GPU 2" not in text, "exactly its own GPUs"
        return found

    async def _ssh_from_outside(self, ada: Visitor, folder: Path, uuids: list[str]) -> None:
        command = await ada.page.locator("code", has_text="ssh -p").first.inner_text()
        program, *words = command.split()
        answer = await asyncio.to_thread(
            subprocess.run,
            [
                program,
                *("-i", str(folder / "id_ed25519"), "-o", "BatchMode=yes"),
                *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
                *words,
                "nvidia-smi",
                "-L",
            ],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        assert re.findall(r"UUID: (GPU-[0-9a-f-]+)", answer.stdout) == uuids

    async def _release(self, ada: Visitor) -> None:
        page = ada.page
        await page.reload()
        await ada.press("Release…")
        dialog = page.locator("dialog[open]")
        await expect(dialog).to_contain_text("first-light")
        await dialog.get_by_role("button", name=re.compile("^Release")).click()
        await page.get_by_role("link", name=re.compile("receipt", re.IGNORECASE)).first.click(
            timeout=40_000
        )
        await expect(page.get_by_role("heading", name=re.compile("Receipt"))).to_be_visible()
        await expect(page.get_by_text("simulated-overwrite").first).to_be_visible()
        await ada.go("/billing")
        await expect(page.get_by_text("first-light").first).to_be_visible()
