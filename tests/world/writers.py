"""The whole API over one database, and people who write through it until they are answered."""

import asyncio
import base64
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import httpx

from access_builders import PASSWORD
from gpucloud_adapters.bootstrap import make_container
from gpucloud_adapters.settings import Settings
from gpucloud_web.app import build

ORIGIN = "http://127.0.0.1:8000"
WRITERS = 6
PATIENCE = 30.0  # seconds to recover unaided


@dataclass(kw_only=True)
class Writers:
    """The application, whoever writes through it, and what they were answered."""

    http: httpx.AsyncClient
    names: list[str] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)

    async def write(self, writer: int, patience: float = PATIENCE) -> None:
        """Add one SSH key, asking again under one key until the answer is not about trouble."""
        name = f"key-{len(self.names)}-{writer}"
        self.names.append(name)
        body = {"name": name, "public_key": a_key()}
        end = time.monotonic() + patience
        while True:
            answer = await self.http.post(
                "/ssh-keys", json=body, headers={"Idempotency-Key": f"k-{name}"}
            )
            self.answers[answer.status_code] += 1
            if answer.is_success:
                return
            assert answer.status_code in {409, 503}, answer.text
            if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                assert int(answer.headers["Retry-After"]) > 0
            assert time.monotonic() < end, f"it does not recover: {answer.text}"
            await asyncio.sleep(0.02)

    async def all_write(self, each: int) -> None:
        """Let everybody write so often, at once."""

        async def writing(writer: int) -> None:
            for _ in range(each):
                await self.write(writer)

        await asyncio.gather(*(writing(writer) for writer in range(WRITERS)))

    async def write_until(self, is_enough: Callable[[], bool], patience: float) -> None:
        """Let everybody write, again and again, and each until their last answer."""

        async def writing(writer: int) -> None:
            while not is_enough():
                await self.write(writer, patience)

        await asyncio.gather(*(writing(writer) for writer in range(WRITERS)))

    async def check(self, rows: "asyncpg.Connection[asyncpg.Record]") -> None:
        """See that what was acknowledged is there, once, with one line in the audit each."""
        found = await rows.fetch("SELECT name FROM ssh_keys")
        assert Counter(row["name"] for row in found) == Counter(self.names)
        told = await rows.fetchval("SELECT count(*) FROM audit_rows WHERE action = 'ssh_key.add'")
        assert told == len(self.names)


def a_key() -> str:
    kind = b"ssh-ed25519"
    wire = b"".join(len(part).to_bytes(4, "big") + part for part in (kind, secrets.token_bytes(32)))
    return f"{kind.decode()} {base64.b64encode(wire).decode()}"


@asynccontextmanager
async def writers(database_url: str, redis_url: str, home: Path) -> AsyncIterator[Writers]:
    """Serve the API in this process, to people who are signed in."""
    settings = Settings.of(
        {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "STRIPE_SECRET_KEY": "sk_test_none",
            "STRIPE_WEBHOOK_SECRET": "whsec_none",
            "GPUCLOUD_HOME": str(home),
            "GPUCLOUD_PUBLIC_URL": ORIGIN,
        }
    )
    container = make_container(settings)
    transport = httpx.ASGITransport(
        build(settings, container),  # type: ignore[arg-type]  # each has its own words for ASGI
        raise_app_exceptions=False,
    )
    async with httpx.AsyncClient(
        transport=transport, base_url=f"{ORIGIN}/api/v1", timeout=60
    ) as http:
        body = {"username": "ada", "password": PASSWORD}
        signed_in = await http.post("/auth/personal/signup", json=body)
        assert signed_in.is_success, signed_in.text
        http.headers["Authorization"] = f"Bearer {signed_in.json()['access_token']}"
        yield Writers(http=http)
    await container.close()
