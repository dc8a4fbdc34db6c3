"""``gpucloud up`` with small programs in place of its Python parts.

The databases, the supervisor, the guardian and the console are the real ones; web, worker and the
simulators are a few lines each, so that tests may kill everything many times a minute.
"""

import asyncio
import os
import sys
from pathlib import Path
from textwrap import dedent
from typing import Final

from gpucloud_adapters import parts
from gpucloud_adapters.embedded.console import up
from gpucloud_adapters.settings import UpSettings

_SERVER: Final = """
    import http.server, sys
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
        def log_message(self, *_):
            pass
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""
_WORKER: Final = """
    import subprocess, sys
    subprocess.run([sys.executable, "-c", "import time; time.sleep(600)  # a worker's own child"])
"""
_MIGRATION: Final = """
    import asyncio, os, asyncpg
    async def migrate():
        connection = await asyncpg.connect(os.environ["DATABASE_URL"])
        await connection.execute("CREATE TABLE IF NOT EXISTS note (text text)")
        await connection.close()
    asyncio.run(migrate())
"""
_DEMO: Final = """
    import json, os, pathlib
    file = pathlib.Path(os.environ["GPUCLOUD_HOME"], "demo.json")
    row = {"username": "ada", "password": "battery-staple", "note": "a customer"}
    file.write_text(json.dumps({"sign_ins": [row]}))
    pathlib.Path(os.environ["GPUCLOUD_HOME"], "urls").write_text(
        os.environ["DATABASE_URL"] + chr(10) + os.environ["REDIS_URL"])
"""


def _program(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", dedent(code), *arguments)


def _web(host: str, port: int) -> tuple[str, ...]:
    return _program(_SERVER, str(port))


def _simulator(port: int, home: Path) -> tuple[str, ...]:
    return _program(_SERVER, str(port))


def main() -> int:
    parts.web = _web
    parts.worker = lambda: _program(_WORKER)
    parts.migrate = lambda: _program(_MIGRATION)
    parts.simulated_stripe = _simulator
    parts.simulated_fleet = _simulator
    parts.demo = lambda: _program(_DEMO)
    return asyncio.run(up(UpSettings.of(os.environ), os.environ))


if __name__ == "__main__":
    sys.exit(main())
