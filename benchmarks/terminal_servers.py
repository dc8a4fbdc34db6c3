"""What the terminal benchmark talks to: an sshd of its own, our gateway over it, and terminado.

Run as a program it is our gateway: the product's socket, sessions, shells and SSH connections, over
an admission that is always given (one statement of the database per terminal is not what is timed).
"""

import asyncio
import getpass
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dishka import Provider, Scope, make_async_container
from granian.constants import Interfaces
from granian.server.embed import Server
from litestar import Litestar

from gpucloud_adapters.memory.unit import MemoryTransactions
from gpucloud_adapters.ssh.connections import SshConnections
from gpucloud_adapters.ssh.shells import SshShells
from gpucloud_adapters.system import SystemClock
from gpucloud_core.access.model import Actor
from gpucloud_core.allocations.terminal import (
    Admission,
    AdmitToTerminal,
    Holder,
    JudgeTerminals,
    OpenShell,
)
from gpucloud_core.allocations.terminal_life import Ended
from gpucloud_core.allocations.terminal_record import RecordTerminal
from gpucloud_core.kernel.ids import AllocationId, ClaimId, ProjectId, TenantId, UserId, entity_id
from gpucloud_core.nodes.model import NodeAccess
from gpucloud_core.nodes.ports import Shells
from gpucloud_web.terminals.registry import Terminals
from gpucloud_web.terminals.socket import terminal_socket

ALLOCATION: Final = AllocationId(entity_id("alc", 1))
PEER: Final = ("terminado==0.18.1", "tornado==6.6.1")
START_SECONDS: Final = 20.0
_SHELL: Final = "exec env -i PATH=/usr/bin:/bin TERM=xterm PS1='$ ' /bin/dash -i"
_GATE: Final = f"""#!/bin/dash
case "$SSH_ORIGINAL_COMMAND" in
*shell*) {_SHELL} ;;
*verify*) cat >/dev/null; echo '{{"ok": true, "exists": true, "running": true, "ssh_ready": true,
 "gpu_uuids": [], "key_fingerprints": [], "ssh_cidrs": [], "detail": ""}}' ;;
esac
"""
_SSHD: Final = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
MaxStartups 2000:30:4000
PrintMotd no
PrintLastLog no
LogLevel QUIET
"""
_TERMINADO: Final = """
import asyncio, sys, terminado, tornado.web
terms = terminado.UniqueTermManager(shell_command=["/bin/dash", "-i"],
    extra_env={"PS1": "$ "})
app = tornado.web.Application([(r"/t", terminado.TermSocket, {"term_manager": terms})])
async def main():
    app.listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()
asyncio.run(main())
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_port(port: int) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on {port}")


@contextmanager
def _running(*argv: str, port: int) -> Iterator[None]:
    process = subprocess.Popen(argv, start_new_session=True)
    try:
        await_port(port)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def sshd(folder: Path) -> Iterator[int]:
    """Run an sshd on a free port, whose every command passes our stand-in for a node's program."""
    port = free_port()
    for name in ("host_key", "client_key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True
        )
    gate = folder / "gate"
    gate.write_text(_GATE)
    gate.chmod(0o755)
    public = (folder / "client_key.pub").read_text()
    (folder / "authorized_keys").write_text(f'command="{gate}" {public}')
    (folder / "sshd_config").write_text(_SSHD.format(port=port, folder=folder))
    Path("/run/sshd").mkdir(exist_ok=True)
    with _running("/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config"), port=port):
        yield port


@contextmanager
def gateway(folder: Path, sshd_port: int) -> Iterator[int]:
    port = free_port()
    with _running(sys.executable, __file__, str(port), str(sshd_port), str(folder), port=port):
        yield port


@contextmanager
def terminado(folder: Path) -> Iterator[int]:
    """Run terminado from a throw-away environment.

    Raises:
        subprocess.CalledProcessError: it cannot be installed.
    """
    uv = [str(Path(sys.executable).with_name("uv")), "--quiet"]
    subprocess.run([*uv, "venv", str(folder / "peer")], check=True)
    python = str(folder / "peer" / "bin" / "python")
    subprocess.run([*uv, "pip", "install", "--python", python, *PEER], check=True)
    port = free_port()
    with _running(python, "-c", _TERMINADO, str(port), port=port):
        yield port


# ---- the gateway, as a program -------------------------------------------------------------


class _Everybody(AdmitToTerminal):
    """Lets everybody in."""

    access: NodeAccess

    def __init__(self, access: NodeAccess) -> None:
        object.__setattr__(self, "access", access)

    async def __call__(self, *, token: str, allocation_id: AllocationId, origin: str) -> Admission:
        del token, origin
        holder = Holder(
            tenant_id=TenantId("tnt"),
            user_id=UserId("usr"),
            session_id=None,
            allocation_id=allocation_id,
        )
        claim = ClaimId(entity_id("clm", 1))
        actor = Actor(
            user_id=holder.user_id, username="", tenant_id=holder.tenant_id, tenant_role=None
        )
        project = ProjectId("prj")
        return Admission(
            holder=holder, actor=actor, project_id=project, access=self.access, claim_id=claim
        )


class _Nobody(JudgeTerminals):
    """Ends nobody's terminal."""

    def __init__(self) -> None:
        """Need nothing."""

    async def __call__(self, holders: object) -> dict[Holder, Ended]:
        del holders
        return {}


def _application(folder: Path, sshd_port: int) -> Litestar:
    host_key = " ".join((folder / "host_key.pub").read_text().split()[:2])
    access = NodeAccess(
        host="127.0.0.1",
        port=sshd_port,
        username=getpass.getuser(),
        host_key=host_key,
        credential="bench",
    )

    async def credential(name: str) -> str:
        del name
        return (folder / "client_key").read_text()

    async def shells() -> AsyncIterator[Shells]:
        connections = SshConnections(credential)
        yield SshShells(connections)
        await connections.close()

    provider = Provider(scope=Scope.APP)
    provider.provide(lambda: _Everybody(access), provides=AdmitToTerminal)
    provider.provide(_Nobody, provides=JudgeTerminals)
    record = RecordTerminal(transactions=MemoryTransactions(SystemClock()))
    provider.provide(lambda: record, provides=RecordTerminal)
    provider.provide(shells, provides=Shells)
    provider.provide(OpenShell)
    app = Litestar(route_handlers=[terminal_socket])
    app.state.public_url = "http://127.0.0.1"
    app.state.terminals = Terminals()
    app.state.dishka_container = make_async_container(provider)
    return app


def main(port: int, sshd_port: int, folder: Path) -> None:
    server = Server(
        _application(folder, sshd_port),
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGI,
        log_enabled=False,
    )
    asyncio.run(server.serve())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
