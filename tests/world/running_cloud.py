"""The whole platform as ``make run`` starts it: ``gpucloud up`` in a folder of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from embedded_servers import free_port
from gpucloud_adapters.embedded.postgres import EmbeddedPostgres
from gpucloud_adapters.embedded.valkey import EmbeddedValkey
from gpucloud_adapters.settings import Settings

START_SECONDS = 90
STOP_SECONDS = 30


@dataclass(frozen=True, slots=True)
class RunningCloud:
    """Where it answers and where its folder is."""

    url: str
    home: Path
    process: "subprocess.Popen[bytes]"

    @property
    def settings(self) -> Settings:
        """The settings that its web server and its worker run on."""
        ports = json.loads((self.home / "ports.json").read_text(encoding="utf-8"))
        postgres = EmbeddedPostgres(home=self.home / "postgres", port=ports["postgres"])
        valkey = EmbeddedValkey(home=self.home / "valkey", port=ports["valkey"])
        return Settings.of(
            {
                "DATABASE_URL": postgres.url,
                "REDIS_URL": valkey.url,
                "STRIPE_SECRET_KEY": (self.home / "stripe" / "key").read_text().strip(),
                "STRIPE_WEBHOOK_SECRET": (self.home / "stripe" / "webhook").read_text().strip(),
                "STRIPE_API_BASE": f"http://127.0.0.1:{ports['stripe']}",
                "GPUCLOUD_HOME": str(self.home),
                "GPUCLOUD_PUBLIC_URL": self.url,
                "GPUCLOUD_SIMULATED": "1",
            }
        )

    def kill(self, name: str) -> None:
        """SIGKILL a part with all its processes."""
        rows = json.loads((self.home / "children.json").read_text(encoding="utf-8"))
        pid = next(row["pid"] for row in rows if row["name"] == name)
        os.killpg(pid, signal.SIGKILL)

    def password_of(self, username: str) -> str:
        rows = json.loads((self.home / "demo.json").read_text(encoding="utf-8"))["all"]
        return next(str(row["password"]) for row in rows if row["username"] == username)


@contextmanager
def running_cloud(folder: Path, **environment: str) -> Iterator[RunningCloud]:
    """Start ``gpucloud up`` below ``folder``, wait until it says where it is, and stop it."""
    port, log = free_port(), folder / "up.log"
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("GPUCLOUD_")}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "gpucloud_adapters.cli", "up"],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=inherited
            | {"GPUCLOUD_HOME": str(folder / "home"), "GPUCLOUD_PORT": str(port)}
            | environment,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(process, log, url)
        yield RunningCloud(url, folder / "home", process)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(STOP_SECONDS)


def _wait(process: "subprocess.Popen[bytes]", log: Path, url: str) -> None:
    end = time.monotonic() + START_SECONDS
    while url not in log.read_text(encoding="utf-8", errors="replace"):
        if process.poll() is not None or time.monotonic() > end:
            raise AssertionError(f"it does not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.1)
