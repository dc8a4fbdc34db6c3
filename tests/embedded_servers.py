"""Runs one of the product's own server commands for as long as a ``with`` block lasts."""

import asyncio
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from gpucloud_adapters.embedded.guardian import Guardian
from gpucloud_adapters.embedded.process import Command, end_group, open_log, spawn, tail


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(command: Command, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` until the block ends; the guardian ends it if the tests are killed."""
    guardian = Guardian()
    command.before()
    with open_log(log) as output:
        process = spawn(command, output)
    guardian.watch(process.pid, command.stop_signal)
    try:
        with ThreadPoolExecutor(1) as thread:  # a test's own loop may be about to run here
            thread.submit(asyncio.run, _until_ready(command, process, log)).result()
        yield process
    finally:
        process.send_signal(command.stop_signal)
        try:
            process.wait(command.stop_seconds)
        except subprocess.TimeoutExpired:
            end_group(process.pid)
            process.wait()
        guardian.forget(process.pid)
        guardian.dismiss()


async def _until_ready(command: Command, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + command.ready_seconds
    while not await command.ready():
        assert process.poll() is None, f"{command.name} ended early:\n{tail(log)}"
        assert time.monotonic() < deadline, f"{command.name} gave no answer:\n{tail(log)}"
        await asyncio.sleep(0.05)
