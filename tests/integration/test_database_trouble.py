"""The whole API while the way to its database breaks, hangs and stutters.

A TCP proxy stands between the web application and PostgreSQL; a trigger lets a tenth of the writes
fail as those of serializable transactions and impatient locks do. Whatever happens: no answer is
an error of ours, every refusal says when to come again, nothing acknowledged is lost, and what is
asked again under its key until it is answered has happened once, with one line in the audit log.

Seen to fail when an answer of the database was waited for without an end (half-open lines held
requests for good), and when a serialization failure was no refusal that is known (it was a 500).
"""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import asyncpg
import httpx
import pytest

from gpucloud_adapters.embedded.postgres import EmbeddedPostgres
from gpucloud_adapters.postgres import engine
from world.tcp_proxy import Fault, TcpProxy, tcp_proxy
from world.writers import Writers, writers

EACH = 5  # writes of a writer that must get through under each fault, or after it
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
    """Who writes, the way to their database, and what has arrived there."""

    writers: Writers
    proxy: TcpProxy
    rows: "asyncpg.Connection[asyncpg.Record]"

    @property
    def answers(self) -> dict[int, int]:
        return self.writers.answers

    async def storm(self, fault: Fault, seconds: float) -> None:
        """Let everybody write while a fault lasts, and until all are answered after it."""
        self.proxy.become(fault)
        writing = asyncio.create_task(self.writers.all_write(EACH))
        await asyncio.sleep(seconds)
        self.proxy.become(Fault.NONE)
        await writing

    async def check(self) -> None:
        await self.writers.check(self.rows)


@pytest.fixture
async def api(
    postgres_server: EmbeddedPostgres,
    database_url: str,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Api]:
    monkeypatch.setattr(engine, "ANSWER_TIMEOUT", timedelta(seconds=1))
    monkeypatch.setattr(engine, "CONNECT_TIMEOUT", timedelta(seconds=1))
    async with tcp_proxy(postgres_server.port) as proxy:
        through = database_url.replace(f":{postgres_server.port}/", f":{proxy.port}/")
        name = database_url.rpartition("/")[2]
        rows = await asyncpg.connect(postgres_server.url_of(name, "postgres"))
        async with writers(through, redis_url, tmp_path) as everybody:
            yield Api(writers=everybody, proxy=proxy, rows=rows)
        await rows.close()


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
