"""The whole API while the way to its database breaks, hangs and stutters.

A TCP proxy stands between the web application and PostgreSQL; a trigger lets a tenth of the writes
fail as those of serializable transactions and impatient locks do. Whatever happens: no answer is
an error of ours, every refusal says when to come again, nothing acknowledged is lost, and what is
asked again under its key until it is answered has happened once, with one line in the audit log.

Seen to fail when an answer of the database was waited for without an end (half-open lines held
requests for good), and when a serialization failure was no refusal that is known (it was a 500).
"""

import asyncio
import base64
import os
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta

import asyncpg
import httpx
import pytest

from access_builders import PASSWORD
from gpucloud_adapters.bootstrap import make_container
from gpucloud_adapters.embedded.postgres import EmbeddedPostgres
from gpucloud_adapters.postgres import engine
from gpucloud_adapters.settings import Settings
from gpucloud_web.app import build
from world.tcp_proxy import Fault, TcpProxy, tcp_proxy

ORIGIN = "http://127.0.0.1:8000"
WRITERS = 6
EACH = 5  # writes of a writer that must get through under each fault, or after it
PATIENCE = 30.0  # seconds to recover unaided
ROUNDS = int(os.environ.get("CAMPAIGN_ROUNDS", "1"))  # of each fault; `make campaign` has more

pytestmark = pytest.mark.timeout(90 + 60 * ROUNDS)

FLAKY = """
    CREATE FUNCTION stumble() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF random() < 0.1 THEN
            RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001';
        ELSIF random() < 0.1 THEN
            RAISE EXCEPTION 'canceling statement due to lock timeout' USING ERRCODE = '55P03';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER stumble BEFORE INSERT ON ssh_keys FOR EACH ROW EXECUTE FUNCTION stumble();
"""


@dataclass(kw_only=True)
class Api:
    """The application, whoever writes through it, and what they were answered."""

    http: httpx.AsyncClient
    proxy: TcpProxy
    rows: "asyncpg.Connection[asyncpg.Record]"
    names: list[str] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)

    async def write(self, writer: int) -> None:
        """Add one SSH key, asking again under one key until the answer is not about trouble."""
        name = f"key-{len(self.names)}-{writer}"
        self.names.append(name)
        body = {"name": name, "public_key": a_key()}
        end = time.monotonic() + PATIENCE
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

    async def storm(self, fault: Fault, seconds: float) -> None:
        """Let everybody write while a fault lasts, and until all are answered after it."""

        async def writing(writer: int) -> None:
            for _ in range(EACH):
                await self.write(writer)

        self.proxy.become(fault)
        writers = asyncio.gather(*(writing(writer) for writer in range(WRITERS)))
        await asyncio.sleep(seconds)
        self.proxy.become(Fault.NONE)
        await writers

    async def check(self) -> None:
        found = await self.rows.fetch("SELECT name FROM ssh_keys")
        assert Counter(row["name"] for row in found) == Counter(self.names)
        told = await self.rows.fetchval(
            "SELECT count(*) FROM audit_rows WHERE action = 'ssh_key.add'"
        )
        assert told == len(self.names)


def a_key() -> str:
    kind = b"ssh-ed25519"
    wire = b"".join(len(part).to_bytes(4, "big") + part for part in (kind, secrets.token_bytes(32)))
    return f"{kind.decode()} {base64.b64encode(wire).decode()}"


@pytest.fixture
async def api(
    postgres_server: EmbeddedPostgres,
    database_url: str,
    redis_url: str,
    tmp_path: object,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Api]:
    monkeypatch.setattr(engine, "ANSWER_TIMEOUT", timedelta(seconds=1))
    monkeypatch.setattr(engine, "CONNECT_TIMEOUT", timedelta(seconds=1))
    async with tcp_proxy(postgres_server.port) as proxy:
        settings = Settings.of(
            {
                "DATABASE_URL": database_url.replace(
                    f":{postgres_server.port}/", f":{proxy.port}/"
                ),
                "REDIS_URL": redis_url,
                "STRIPE_SECRET_KEY": "sk_test_none",
                "STRIPE_WEBHOOK_SECRET": "whsec_none",
                "GPUCLOUD_HOME": str(tmp_path),
                "GPUCLOUD_PUBLIC_URL": ORIGIN,
            }
        )
        container = make_container(settings)
        transport = httpx.ASGITransport(
            build(settings, container),  # type: ignore[arg-type]  # each has its own words for ASGI
            raise_app_exceptions=False,
        )
        name = database_url.rpartition("/")[2]
        rows = await asyncpg.connect(postgres_server.url_of(name, "postgres"))
        async with httpx.AsyncClient(
            transport=transport, base_url=f"{ORIGIN}/api/v1", timeout=60
        ) as http:
            body = {"username": "ada", "password": PASSWORD}
            signed_in = await http.post("/auth/personal/signup", json=body)
            assert signed_in.is_success, signed_in.text
            http.headers["Authorization"] = f"Bearer {signed_in.json()['access_token']}"
            yield Api(http=http, proxy=proxy, rows=rows)
        await rows.close()
        await container.close()


class TestTheApi:
    async def test_answers_for_itself_whatever_the_way_to_the_database_does(self, api: Api) -> None:
        await api.storm(Fault.NONE, 0)
        await api.check()
        assert set(api.answers) == {httpx.codes.CREATED}

        faults = (Fault.CUT_SOME, Fault.REFUSE, Fault.SWALLOW_ANSWERS, Fault.SWALLOW_ALL)
        for fault in faults * ROUNDS:
            api.answers.clear()
            await api.storm(fault, 2.0)
            assert api.answers[httpx.codes.SERVICE_UNAVAILABLE], f"{fault} was not noticed"
            await api.check()

    async def test_calls_what_stumbles_a_conflict_that_may_be_asked_again(self, api: Api) -> None:
        await api.rows.execute(FLAKY)

        await api.storm(Fault.NONE, 0)

        assert api.answers[httpx.codes.CONFLICT], "nothing stumbled"
        assert set(api.answers) == {httpx.codes.CONFLICT, httpx.codes.CREATED}
        await api.check()
