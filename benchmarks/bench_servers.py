"""PostgreSQL and Valkey for a benchmark: in a folder of their own, durable, newest schema."""

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from embedded_servers import free_port, running
from gpucloud_adapters.embedded.postgres import EmbeddedPostgres
from gpucloud_adapters.embedded.valkey import EmbeddedValkey
from gpucloud_adapters.postgres import migrate

FOLDER: Final = "/var/tmp"  # a disk; /tmp may be memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    postgres: EmbeddedPostgres
    home: Path
    environment: dict[str, str]  # of the product over them


@contextmanager
def servers(*, origin: str = "http://127.0.0.1:8000") -> Iterator[Servers]:
    """Run both until the block ends."""
    with tempfile.TemporaryDirectory(prefix="gpucloud-bench-", dir=FOLDER) as folder:
        home = Path(folder)
        postgres = EmbeddedPostgres(home=home / "postgres", port=free_port())
        valkey = EmbeddedValkey(home=home / "valkey", port=free_port())
        with (
            running(postgres.command(), home / "postgres.log"),
            running(valkey.command(), home / "valkey.log"),
        ):
            asyncio.run(postgres.create())
            migrate.upgrade(postgres.url)
            yield Servers(
                postgres=postgres,
                home=home,
                environment={
                    "DATABASE_URL": postgres.url,
                    "REDIS_URL": valkey.url,
                    "STRIPE_SECRET_KEY": "sk_test_none",
                    "STRIPE_WEBHOOK_SECRET": "whsec_none",
                    "STRIPE_API_BASE": "http://127.0.0.1:9",
                    "GPUCLOUD_SIMULATED": "1",
                    "GPUCLOUD_PUBLIC_URL": origin,
                    "GPUCLOUD_HOME": str(home / "home"),
                },
            )
