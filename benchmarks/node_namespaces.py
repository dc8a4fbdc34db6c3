"""Nodes as network namespaces on one machine: a bridge, and behind it an sshd in each of them.

Every node has an interface, addresses and an OpenSSH server of its own, as a machine would. They
go away however the block ends; what a killed run left behind goes away when the next one begins.
"""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import IO, Final

USER: Final = "gpucloud-bench"
PORT: Final = 22
ADDRESSES: Final = 6  # of each node
START_SECONDS: Final = 30.0
_NAME: Final = "gcb"

CONFIGURATION: Final = """
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/keys
PidFile none
LogLevel ERROR
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
PrintLastLog no
MaxStartups 2000:30:4000
MaxSessions 64
ForceCommand {command}
"""


@dataclass(frozen=True, slots=True)
class Ground:
    """Servers under many addresses, the host key they share, and the key that opens them."""

    addresses: Sequence[str]
    host_key: str
    key: str


@contextmanager
def namespaces(count: int, command: str) -> Iterator[Ground]:
    """Run ``count`` nodes whose sshd answers every command with ``command``, in a plain shell."""
    _require_means()
    _remove_left_overs()
    _make_user()
    name = f"{_NAME}{os.getpid()}"
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    servers: list[subprocess.Popen[bytes]] = []
    with TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        folder.chmod(0o755)
        host, client = _key(folder / "host"), _key(folder / "client")
        (folder / "keys").write_text(client)
        config = folder / "sshd_config"
        config.write_text(CONFIGURATION.format(port=PORT, folder=folder, command=command))
        try:
            addresses = _make(name, count)
            with (folder / "log").open("wb") as log:
                servers += (_serve(f"{name}n{number}", config, log) for number in range(count))
            _await_all(addresses, folder / "log")
            yield Ground(addresses, " ".join(host.split()[:2]), (folder / "client").read_text())
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough to end it
            for server in servers:
                server.terminate()
            for server in servers:
                server.wait()
            _remove(name)
            signal.signal(signal.SIGTERM, before)


def answering(line: str) -> str:
    """Return a command that reads what it is told to the end and says ``line``.

    The user's shell does both itself, so that a command costs one new program.
    """
    return f"while read -r told; do :; done; echo {shlex.quote(line)}"


def _require_means() -> None:
    if os.geteuid() != 0:
        raise SystemExit("This needs root: it makes network namespaces, a user, and runs sshd.")
    missing = [tool for tool in ("ip", "nsenter", "sshd", "ssh-keygen") if not _program(tool)]
    if missing:
        raise SystemExit(f"This needs {', '.join(missing)}: run .ci/system-parts, or install them.")


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _make_user() -> None:
    make = ["useradd", "--system", "--password", "*", "--shell", "/bin/dash", "--no-create-home"]
    subprocess.run([*make, USER], check=False, capture_output=True)  # it may be there
    Path("/run/sshd").mkdir(exist_ok=True)


def _make(name: str, count: int) -> list[str]:
    """Make a bridge and the namespaces behind it; return all addresses, one of each node first.

    The network is the one that is set apart for benchmarks.
    Source: RFC 6890 section 2.2.2 (198.18.0.0/15), read 2026-11-28.
    """
    nodes = [f"{name}n{number}" for number in range(count)]
    _ip(f"link add {name} type bridge", f"addr add 198.18.0.1/16 dev {name}", f"link set {name} up")
    _ip(*(f"netns add {node}" for node in nodes))
    _ip(*(f"link add {node} type veth peer name eth0 netns {node}" for node in nodes))
    _ip(*(f"link set {node} master {name} up" for node in nodes))
    of_node = [[f"198.18.{n + 1}.{part + 1}" for part in range(ADDRESSES)] for n in range(count)]
    for node, mine in zip(nodes, of_node, strict=True):
        adding = (f"addr add {address}/16 dev eth0" for address in mine)
        _ip(*adding, "link set lo up", "link set eth0 up", inside=node)
    return [mine[part] for part in range(ADDRESSES) for mine in of_node]


def _ip(*commands: str, inside: str = "") -> None:
    where = ["-n", inside] if inside else []
    done = subprocess.run(
        [_program("ip") or "ip", *where, "-batch", "-"],
        input="\n".join(commands),
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"Network namespaces cannot be made here: {done.stderr.strip()}")


def _serve(node: str, config: Path, log: IO[bytes]) -> "subprocess.Popen[bytes]":
    enter = [_program("nsenter") or "nsenter", f"--net=/run/netns/{node}", "--"]
    return subprocess.Popen(
        [*enter, _program("sshd") or "sshd", "-D", "-e", "-f", config], stderr=log
    )


def _await_all(addresses: Sequence[str], log: Path) -> None:
    end = perf_counter() + START_SECONDS
    for address in addresses:
        while True:
            try:
                socket.create_connection((address, PORT), timeout=1).close()
                break
            except OSError as error:
                if perf_counter() > end:
                    said = f"{address}: {error}; {log.read_text()[-500:]}"
                    raise SystemExit(f"An sshd does not start: {said}") from error
                sleep(0.05)


def _key(path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path.with_suffix(".pub").read_text()


def _remove_left_overs() -> None:
    """Remove what runs that are no more have left; there is room for one run at a time."""
    found = set()
    for listing in (["netns", "list"], ["-o", "link", "show", "type", "bridge"]):
        said = subprocess.run(
            [_program("ip") or "ip", *listing], check=True, capture_output=True, text=True
        )
        found |= {int(number) for number in re.findall(rf"\b{_NAME}(\d+)", said.stdout)}
    for number in found:
        if Path(f"/proc/{number}").exists():
            raise SystemExit(f"Another run, process {number}, has its nodes up; wait for its end.")
        _remove(f"{_NAME}{number}")


def _remove(name: str) -> None:
    """Remove the namespaces of ``name``, whatever still runs in them, and the bridge."""
    ip = _program("ip") or "ip"
    listed = subprocess.run([ip, "netns", "list"], check=False, capture_output=True, text=True)
    for node in re.findall(rf"^{name}n\d+\b", listed.stdout, re.MULTILINE):
        inside = subprocess.run(
            [ip, "netns", "pids", node], check=False, capture_output=True, text=True
        )
        for process in inside.stdout.split():
            with suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
        subprocess.run([ip, "link", "delete", node], check=False, capture_output=True)
        subprocess.run([ip, "netns", "delete", node], check=False)
    subprocess.run([ip, "link", "delete", name], check=False, capture_output=True)
