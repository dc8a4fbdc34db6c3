"""A person, their mail address and their mails, as ``gpucloud up`` runs it: mails lie in a folder.

Seen to fail when no worker sent mails, and when the link led to another origin.
"""

import asyncio
import re
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP

import httpx
import pytest

from world.running_cloud import RunningCloud

pytestmark = pytest.mark.timeout(180)
SECONDS = 30.0
PASSWORD, NEW = "a long enough phrase", "another long enough phrase"


async def mail_to(cloud: RunningCloud, address: str, subject: str) -> str:
    """Wait for a mail and return its text."""
    async with asyncio.timeout(SECONDS):
        while True:
            for file in (cloud.home / "mail").glob("*.eml"):
                mail = message_from_bytes(file.read_bytes(), policy=SMTP)
                assert isinstance(mail, EmailMessage)
                if (mail["To"], mail["Subject"]) == (address, subject):
                    return str(mail.get_content())
            await asyncio.sleep(0.2)


class TestMail:
    async def test_goes_to_an_address_once_it_is_proved(self, cloud: RunningCloud) -> None:
        address = "mira@example.com"
        async with httpx.AsyncClient(base_url=f"{cloud.url}/api/v1", timeout=30) as http:

            async def ask(path: str, **body: str) -> httpx.Response:
                answer = await http.post(path, json=body)
                assert answer.is_success, answer.text
                return answer

            made = await ask("/auth/personal/signup", username="mira-mails", password=PASSWORD)
            http.headers["Authorization"] = f"Bearer {made.json()['access_token']}"
            await ask("/me/email", email=address, current_password=PASSWORD)
            asked = await mail_to(cloud, address, "Confirm your mail address")
            (link,) = re.findall(r"http\S+", asked.partition("-- ")[0])
            assert link.startswith(f"{cloud.url}/account/email/confirm?token=")
            await ask("/me/email/confirm", token=link.partition("token=")[2])
            await ask("/auth/personal/password", current_password=PASSWORD, new_password=NEW)

            told = await mail_to(cloud, address, "Your password was changed")
            assert f"{cloud.url}/account" in told
