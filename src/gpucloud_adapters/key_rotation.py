"""``gpucloud keys rotate``: a new master key, and every stored secret under it, while all runs."""

import asyncio
from pathlib import Path

from gpucloud_adapters.postgres.engine import create_engine
from gpucloud_adapters.postgres.unit import PostgresTransactions
from gpucloud_adapters.secret_box import AesSecretBox, KeyFile
from gpucloud_core.kernel.secret_box import RewrapSecrets


def rotate(database_url: str, home: Path) -> tuple[str, int]:
    """Return the new key's name, and how many secrets it wraps now. Not from an event loop.

    Asked again after a failure it makes another key and wraps what is left; the old keys stay in
    the file, for backups.
    """
    key_file = KeyFile.of(home)
    name = key_file.rotate()
    return name, asyncio.run(_rewrap(database_url, key_file))


async def _rewrap(database_url: str, key_file: KeyFile) -> int:
    engine = create_engine(database_url, connections=1)
    try:
        transactions = PostgresTransactions(engine)
        return await RewrapSecrets(transactions=transactions, box=AesSecretBox(key_file))()
    finally:
        await engine.dispose()
