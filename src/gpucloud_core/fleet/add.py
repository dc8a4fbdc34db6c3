"""Bring a node in: its row, its private key sealed beside it, and the first look at it.

Nothing is sold from it until an operator has reviewed what a discovery found and approved slots.
"""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gpucloud_core.access.acting import fact_by
from gpucloud_core.access.authorize import Action, require
from gpucloud_core.access.model import Actor
from gpucloud_core.fleet.place import place_errors
from gpucloud_core.fleet.ports import FleetUnit
from gpucloud_core.fleet.tasks import PROBE_NODE, queue_on_node
from gpucloud_core.kernel.errors import AlreadyExists, FieldError, ValidationFailed
from gpucloud_core.kernel.ids import Ids, NodeId, TaskId
from gpucloud_core.kernel.secret_box import SecretBox
from gpucloud_core.kernel.unit import Scope, Transactions
from gpucloud_core.nodes.credentials import credential_place
from gpucloud_core.nodes.model import FabricPlace, Node, NodeAccess, NodeMode, NodeStatus, Topology

PORT_HIGHEST: Final = 65_535
PRIVATE_KEY_MAX: Final = 16_384
_SLOTS_MAX: Final = 63
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
_REGION: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_USERNAME: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_HOST_KEY: Final = re.compile(
    r"(ssh-ed25519|ecdsa-sha2-nistp\d{3}|ssh-rsa) [A-Za-z0-9+/]{40,}={0,3}"
)
_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN ([A-Z ]+ )?PRIVATE KEY-----\n.+\n-----END ([A-Z ]+ )?PRIVATE KEY-----", re.DOTALL
)
_NOTHING_KNOWN: Final = Topology(
    system="unknown", gpus=(), links=(), nvlinks=(), cpu_count=0, memory_mib=0
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAsked:
    """A node as an operator describes it.

    Attributes:
        host_key: the key it must show, as ``ssh-keyscan`` prints it; pinned from now on.
        private_key: lets us in, in OpenSSH's own format; sealed, and never shown again.
        place: where it hangs in a fabric between nodes, if that is known.
        slot_host, slot_port: where its slices will answer: slot i at ``slot_port`` + i.
    """

    name: str
    region: str
    host: str
    port: int = 22
    username: str
    host_key: str
    private_key: str
    mode: NodeMode = NodeMode.CONTAINER
    slot_host: str = ""
    slot_port: int = 22_000
    shared_kernel: bool = False
    place: FabricPlace | None = None
    probe: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAdded:
    """The new node, and the task that looks at it, if that was asked for."""

    node_id: NodeId
    task_id: TaskId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AddNode:
    """Make a node known, and look at it."""

    transactions: Transactions[FleetUnit]
    ids: Ids
    box: SecretBox

    async def __call__(self, *, actor: Actor, asked: NodeAsked) -> NodeAdded:
        """Add it.

        Raises:
            Forbidden: the actor is no administrator of the platform.
            ValidationFailed: single fields make no sense.
            AlreadyExists: a node in service has this name.
        """
        require(actor, Action.NODE_MANAGE)
        if faults := field_errors(asked):
            raise ValidationFailed("The node needs another look.", fields=faults)
        async with self.transactions.begin(Scope.platform()) as unit:
            node = await self._node(unit, asked)
            task = None
            if asked.probe:
                task = await queue_on_node(unit, self.ids, actor, node, PROBE_NODE)
            await unit.audit(
                fact_by(
                    actor,
                    action="node.add",
                    target=node.id,
                    changes={"name": [None, node.name], "host": [None, node.access.host]},
                )
            )
            task_id = task.id if task else None
        return NodeAdded(node_id=node.id, task_id=task_id)

    async def _node(self, unit: FleetUnit, asked: NodeAsked) -> Node:
        now = await unit.now()
        node_id = NodeId(self.ids.new("nod"))
        place = credential_place(node_id)
        await unit.secrets.add(await self.box.seal(place, pem(asked.private_key), now))
        node = Node(
            id=node_id,
            name=asked.name,
            region=asked.region,
            mode=asked.mode,
            status=NodeStatus.ENROLLING,
            access=NodeAccess(
                host=asked.host.strip(),
                port=asked.port,
                username=asked.username,
                host_key=pinned(asked.host_key),
                credential=node_id,
            ),
            topology=_NOTHING_KNOWN,
            shared_kernel=asked.shared_kernel,
            slot_host=asked.slot_host.strip() or asked.host.strip(),
            slot_port=asked.slot_port,
            place=asked.place,
            created_at=now,
        )
        in_service = {NodeStatus.RETIRED, NodeStatus.DELETED}
        if any(known.status not in in_service for known in await unit.nodes.find(name=node.name)):
            detail = f"There is a node called {node.name}."
            raise AlreadyExists(detail, fields=[FieldError("/name", "taken", detail)])
        await unit.nodes.add(node)
        return node


def pinned(host_key: str) -> str:
    """Return a host key as it is pinned: type and key, without host name and comment."""
    words = host_key.split()
    start = next((at for at, word in enumerate(words) if word.startswith(("ssh-", "ecdsa-"))), 0)
    return " ".join(words[start : start + 2])


def pem(private_key: str) -> str:
    """Return a private key with the line ends that its readers expect."""
    return private_key.strip().replace("\r\n", "\n") + "\n"


def field_errors(asked: NodeAsked) -> list[FieldError]:
    """Return everything that is wrong with single fields."""
    return [
        *_names(asked),
        *_addresses(asked),
        *_keys(asked),
        *place_errors(asked.place),
    ]


def _names(asked: NodeAsked) -> Iterator[FieldError]:
    if not _NAME.fullmatch(asked.name):
        detail = "Use 1 to 63 lower-case letters, digits, dots and hyphens, such as hgx-h200-04."
        yield FieldError("/name", "invalid_name", detail)
    if not _REGION.fullmatch(asked.region):
        detail = "Use the region's short name, such as eu-fra-1."
        yield FieldError("/region", "invalid_region", detail)
    if not _USERNAME.fullmatch(asked.username):
        detail = "Use the name of the account on the node, such as gpucloud."
        yield FieldError("/username", "invalid_username", detail)


def _addresses(asked: NodeAsked) -> Iterator[FieldError]:
    if not _is_host(asked.host):
        detail = "Use an address or a host name, such as 10.0.4.17 or gpu-17.example."
        yield FieldError("/host", "invalid_host", detail)
    if asked.slot_host.strip() and not _is_host(asked.slot_host):
        detail = "Use the address at which its slices will answer, or leave it empty."
        yield FieldError("/slot_host", "invalid_host", detail)
    if not 1 <= asked.port <= PORT_HIGHEST:
        yield FieldError("/port", "out_of_range", "Use a port from 1 to 65535.")
    if not 1 <= asked.slot_port <= PORT_HIGHEST - _SLOTS_MAX:
        detail = f"Use a port from 1 to {PORT_HIGHEST - _SLOTS_MAX}: each GPU takes the next one."
        yield FieldError("/slot_port", "out_of_range", detail)


def _keys(asked: NodeAsked) -> Iterator[FieldError]:
    if not _HOST_KEY.fullmatch(pinned(asked.host_key)):
        detail = "Paste a line of `ssh-keyscan -t ed25519 HOST`, compared on the node's console."
        yield FieldError("/host_key", "invalid_host_key", detail)
    key = pem(asked.private_key).strip()
    if len(key) > PRIVATE_KEY_MAX or not _PRIVATE_KEY.fullmatch(key):
        detail = "Paste the whole private key, from its BEGIN line to its END line, unencrypted."
        yield FieldError("/private_key", "invalid_private_key", detail)


def _is_host(text: str) -> bool:
    host = text.strip()
    try:
        ipaddress.ip_address(host)
    except ValueError:
        labels = host.rstrip(".").split(".")
        return len(host) <= 253 and all(  # noqa: PLR2004  RFC 1035's own
            re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", label) for label in labels
        )
    return True
