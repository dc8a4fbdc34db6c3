"""Putting ``gpucloud-node`` on a node, at onboarding and at upgrades.

By SFTP, with a key that the node lets do only that. The file is written beside its place, read
back and compared before it takes it, so that the node has the old program or the new one.
"""

import asyncio
import hashlib
from typing import Final

import asyncssh

from gpucloud_adapters.ssh.connections import SshConnections
from gpucloud_adapters.ssh.node_program import NODE_PATH, program_bytes, program_sha256
from gpucloud_core.nodes.model import NodeAccess
from gpucloud_core.nodes.ports import NodeRefused, NodeUnreachable

_SECONDS: Final = 60.0
_MODE: Final = 0o755


class NodeProgramInstaller:
    """Installs the one file."""

    def __init__(self, connections: SshConnections) -> None:
        self._connections = connections

    async def install(self, access: NodeAccess) -> str:
        """Make the node's program the one we ship; return its SHA-256.

        Raises:
            NodeUnreachable: no answer; the node has the old program or the new one.
            NodeRefused: the file cannot be put there, or does not read back as it was sent.
            HostKeyChanged: not the machine we know.
        """
        connection = await self._connections.dial(access)
        try:
            async with asyncio.timeout(_SECONDS), connection.start_sftp_client() as sftp:
                await _put(sftp)
        except TimeoutError as error:
            raise NodeUnreachable("The node did not take the program in time.") from error
        except (asyncssh.ConnectionLost, OSError) as error:
            raise NodeUnreachable("The connection to the node broke.") from error
        except (asyncssh.SFTPError, asyncssh.ChannelOpenError) as error:
            raise NodeRefused("The node does not take the program.") from error
        finally:
            connection.abort()
            await connection.wait_closed()
        return program_sha256()


async def _put(sftp: asyncssh.SFTPClient) -> None:
    beside = f"{NODE_PATH}.new"
    async with sftp.open(beside, "wb") as file:
        await file.write(program_bytes())
    await sftp.chmod(beside, _MODE)
    async with sftp.open(beside, "rb") as file:
        found: object = await file.read(len(program_bytes()) + 1)  # bytes, whatever its stub says
    if not isinstance(found, bytes) or hashlib.sha256(found).hexdigest() != program_sha256():
        raise NodeRefused("The program did not arrive on the node as it was sent.")
    await sftp.posix_rename(beside, NODE_PATH)
