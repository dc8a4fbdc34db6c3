"""The command line of ``gpucloud-node``: a verb, one JSON document in, one out, always exit 0.

``gate`` is for the operator's ``authorized_keys``: with ``command="gpucloud-node gate"`` the
platform's key can run the verbs and the discovery tools, and nothing else on the node.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from gpucloud_adapters.ssh.node import cleaning, config, evidence, slices
from gpucloud_adapters.ssh.node.commands import PATH, Refused, environment
from gpucloud_core.nodes import wire
from gpucloud_core.nodes import wire_values as check
from gpucloud_core.nodes.ports import NodeRefused

Does: TypeAlias = Callable[[config.Config, Any], Any]  # its exchange tells what

VERBS: Final[Mapping[str, tuple[wire.Exchange[Any, Any], Does]]] = {
    wire.PROBE.verb: (wire.PROBE, evidence.probe),
    wire.SET_MODE.verb: (wire.SET_MODE, slices.set_mode),
    wire.PROVISION.verb: (wire.PROVISION, slices.provision),
    wire.SET_KEYS.verb: (wire.SET_KEYS, slices.set_keys),
    wire.VERIFY.verb: (wire.VERIFY, evidence.verify),
    wire.RESTART.verb: (wire.RESTART, slices.restart),
    wire.CUT_OFF.verb: (wire.CUT_OFF, slices.cut_off),
    wire.RELEASE.verb: (wire.RELEASE, slices.release),
    wire.WIPE.verb: (wire.WIPE, cleaning.wipe),
    wire.VERIFY_CLEAN.verb: (wire.VERIFY_CLEAN, cleaning.verify_clean),
    wire.LIST.verb: (wire.LIST, evidence.list_ours),
}
_NOT_FOUND: Final = 127  # what a shell answers for a command that does not exist
_REFUSED: Final = 126


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    os.umask(0o077)
    match words:
        case ["gate"]:
            return _gate(os.environ.get("SSH_ORIGINAL_COMMAND", ""))
        case ["shell", "--claim", claim]:
            return _shell(claim)
        case [verb] if verb in VERBS:
            sys.stdout.buffer.write(_answer(verb))
            return 0
        case _:
            sys.stderr.write(f"usage: {wire.PROGRAM} {'|'.join(VERBS)}|gate|shell --claim ID\n")
            return _REFUSED


def _answer(verb: str) -> bytes:
    exchange, does = VERBS[verb]
    try:
        asked = exchange.read_request(sys.stdin.buffer.read(wire.DOCUMENT_BYTES_MAX + 1))
        return exchange.answer(does(config.load(), asked))
    except Refused as refused:
        return wire.refusal(refused.code, refused.detail)
    except NodeRefused as error:
        return wire.refusal("invalid_document", error.detail)
    except Exception as error:  # noqa: BLE001  the outermost loop: the platform must get an answer
        return wire.refusal("internal", f"{type(error).__name__}: {error}")


def _shell(claim: str) -> int:
    try:
        slices.shell(config.load(), check.claim_id(claim))
    except (Refused, check.Wrong, OSError) as error:
        sys.stderr.write(f"{wire.PROGRAM}: {check.escaped(str(error))}\r\n")
    return _REFUSED


def _gate(asked: str) -> int:
    """Run what the platform asked for, if it is one of the few things it may ask for."""
    try:
        argv = shlex.split(asked)
    except ValueError:
        return _REFUSED
    if argv[:1] == [wire.PROGRAM] and argv[1:] != ["gate"]:
        return main(argv[1:])
    if tuple(argv) not in wire.DISCOVERY_COMMANDS:
        sys.stderr.write("not allowed\n")
        return _REFUSED
    if tool := shutil.which(argv[0], path=PATH):
        os.execve(tool, argv, environment())  # noqa: S606  a literal of our own table
    return _NOT_FOUND
