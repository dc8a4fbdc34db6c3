"""The simulated Stripe served for a test, a receiver of its webhooks, and a customer's hands."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import stripe
from granian.constants import Interfaces
from granian.server.embed import Server

from embedded_servers import free_port
from gpucloud_adapters.simulated.stripe import resources
from gpucloud_adapters.simulated.stripe.app import Options, create_app
from gpucloud_adapters.simulated.stripe.deliveries import sign
from gpucloud_adapters.simulated.stripe.faults import Faults
from gpucloud_adapters.simulated.stripe.store import new_id
from gpucloud_adapters.stripe.http import HttpClient
from gpucloud_adapters.stripe.processor import StripeProcessor
from gpucloud_adapters.system import SystemClock

KEY, SECRET = "sk_test_simulated", "whsec_simulated"
PATIENCE_SECONDS = 20
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Knows no authority, so it is made at once; only plain HTTP is spoken here."""


@dataclass
class Receiver:
    """An endpoint for webhooks that answers as a test wishes, and keeps what it was sent."""

    port: int
    statuses: list[int] = field(default_factory=list)
    taken: list[dict[str, Any]] = field(default_factory=list)
    tries: int = 0
    signatures: list[tuple[bytes, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/webhook"

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.taken]

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        original = dict(line.split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        self.tries += 1
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.taken.append(json.loads(body))
            by_name = {name.lower(): value for name, value in original.items()}
            self.signatures.append((body, by_name["stripe-signature"]))
        writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()
        )
        await writer.drain()
        writer.close()

    async def until(self, holds: Callable[["Receiver"], bool]) -> None:
        """Wait until what was received is as it should be."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds(self):  # noqa: ASYNC110  the receiver has no event for any condition
                await asyncio.sleep(0.02)


@asynccontextmanager
async def receiving(port: int = 0) -> AsyncIterator[Receiver]:
    receiver = Receiver(port or free_port())
    server = await asyncio.start_server(receiver.answer, "127.0.0.1", receiver.port)
    async with server:
        yield receiver


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedStripe:
    """A server that runs, and what one does at its pages. ``ends`` closes what was opened to it."""

    url: str
    http: httpx.AsyncClient
    ends: AsyncExitStack

    def processor(self, *, key: str = KEY) -> StripeProcessor:
        processor = StripeProcessor(secret_key=key, webhook_secret=SECRET, api_base=self.url)
        self.ends.push_async_callback(processor.close)
        return processor

    def client(self, *, key: str = KEY) -> stripe.StripeClient:
        http = HttpClient()
        self.ends.push_async_callback(http.close_async)
        return stripe.StripeClient(
            key,
            base_addresses={"api": self.url},
            http_client=http,
            max_network_retries=0,
        )

    async def ask(self, path: str, **query: str) -> dict[str, Any]:
        """Read the API behind the library's back."""
        answer = await self.http.get(
            f"/v1/{path}", params=query, headers={"authorization": f"Bearer {KEY}"}
        )
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    async def pay(self, session_id: str, number: str = "4242424242424242") -> httpx.Response:
        """Send the pay page's form with a card."""
        return await self.submit(session_id, number=number)

    async def submit(self, session_id: str, **fields: str) -> httpx.Response:
        form = {"name": "Ada", "expiry": "12 / 34", "cvc": "123", "method": "card", **fields}
        return await self.http.post(f"/pay/{session_id}", data=form)

    async def close(self, session_id: str) -> None:
        answer = await self.http.post(
            f"/v1/checkout/sessions/{session_id}/expire",
            headers={"authorization": f"Bearer {KEY}"},
        )
        answer.raise_for_status()

    async def signed_event(
        self, kind: str, session_id: str, *, age: timedelta = timedelta(0)
    ) -> tuple[bytes, str]:
        """Return an event about a session as it is, as it would be sent."""
        now = SystemClock().now() - age
        event = {
            **resources.event(),
            "id": new_id("evt_"),
            "created": int(now.timestamp()),
            "type": kind,
            "data": {"object": await self.ask(f"checkout/sessions/{session_id}")},
        }
        body = json.dumps(event, indent=2).encode()
        return body, sign(body, SECRET, now.timestamp())


def options_for(home: Path, port: int, webhook_url: str = "http://127.0.0.1:9/") -> Options:
    return Options(
        home=home,
        base_url=f"http://127.0.0.1:{port}",
        secret_key=KEY,
        webhook_url=webhook_url,
        webhook_secret=SECRET,
        settle_seconds=0.2,
    )


@asynccontextmanager
async def simulated_stripe(
    home: Path,
    *,
    webhook_url: str = "http://127.0.0.1:9/",
    faults: Faults | None = None,
    settle_seconds: float = 0.2,
) -> AsyncIterator[SimulatedStripe]:
    """Serve a simulated Stripe with its state in ``home`` until the block ends."""
    port = free_port()
    options = replace(options_for(home, port, webhook_url), settle_seconds=settle_seconds)
    if faults is not None:
        options = replace(options, faults=faults)
    server = Server(
        create_app(options, SystemClock()),
        port=port,
        interface=Interfaces.ASGI,
        log_enabled=False,
        websockets=False,
    )
    serving = asyncio.create_task(server.serve())
    async with talking_to(port) as simulated:
        yield simulated
    server.stop()  # type: ignore[no-untyped-call]  # granian left it untyped
    await serving


@asynccontextmanager
async def talking_to(port: int) -> AsyncIterator[SimulatedStripe]:
    """Wait until a server answers on ``port``, and be its customer until the block ends."""
    url = f"http://127.0.0.1:{port}"
    async with (
        AsyncExitStack() as ends,
        httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS, verify=NO_TLS) as http,
    ):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await _answers(http):  # noqa: ASYNC110  it cannot tell us
                await asyncio.sleep(0.02)
        yield SimulatedStripe(url=url, http=http, ends=ends)


async def _answers(http: httpx.AsyncClient) -> bool:
    try:
        await http.get("/healthz")
    except httpx.TransportError:
        return False
    return True
