"""The ``gpucloud`` command.

``up`` runs the whole product on this machine; ``web``, ``worker`` and ``migrate`` run one part
each on settings from the environment. The edges are started by name, as programs of their own.
"""

import argparse
import asyncio
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from gpucloud_adapters import audit_check, parts, plan
from gpucloud_adapters.audit_anchors import anchor_file
from gpucloud_adapters.memory.simulation import command as simulation
from gpucloud_adapters.settings import Settings, SettingsInvalid, UpSettings, database_url, home
from gpucloud_core.kernel.errors import DomainError

_OK: Final = 0
_BAD: Final = 1
_MISUSED: Final = 2


def main() -> None:
    sys.exit(run(sys.argv[1:], os.environ))


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run one command; return the status to exit with."""
    asked = _parser().parse_args(arguments)
    command = asked.command
    try:
        if command in WITH_ARGUMENTS:
            return WITH_ARGUMENTS[command](asked, environment)
        return COMMANDS[command][0](environment)
    except SettingsInvalid as invalid:
        print(f"gpucloud {command} cannot start:", file=sys.stderr)
        for fault in invalid.faults:
            print(f"  - {fault}", file=sys.stderr)
        return _MISUSED
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("gpucloud_"):
            raise
        print(
            f"gpucloud {command} needs more than the library: {missing.name} is not installed. "
            "Install gpucloud[server,embedded].",
            file=sys.stderr,
        )
        return _MISUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gpucloud", description="The control plane of a GPU cloud."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, summary) in COMMANDS.items():
        commands.add_parser(name, help=summary, description=summary)
    _add_audit(commands.add_parser("audit", help=_AUDIT, description=_AUDIT))
    keys = commands.add_parser("keys", help=_KEYS, description=_KEYS)
    verbs = keys.add_subparsers(dest="verb", required=True, metavar="VERB")
    rotate = verbs.add_parser("rotate", help="Make a new master key; the platform may run.")
    rotate.add_argument("database_url", nargs="?", help="default: DATABASE_URL")
    simulate = commands.add_parser("simulate", help=simulation.SUMMARY)
    simulation.add_arguments(simulate)
    plan.add_arguments(commands.add_parser("plan", help=plan.SUMMARY, description=plan.SUMMARY))
    return parser


def _add_audit(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verify = verbs.add_parser(
        "verify", help="Name the first row that is not what it was.", description=_AUDIT
    )
    export = verbs.add_parser("export", help="Write every row as a line of JSON.")
    verify.add_argument("--anchors", type=Path, metavar="FILE", help="default: those kept at home")
    verify.add_argument("--export", type=Path, metavar="FILE", help="verify this, no database")
    for verb in (verify, export):
        verb.add_argument("database_url", nargs="?", help="default: DATABASE_URL")


def _up(environment: Mapping[str, str]) -> int:
    settings = UpSettings.of(environment)
    # Imported here: only this command needs what the embedded extra brings.
    from gpucloud_adapters.embedded.console import up  # noqa: PLC0415

    return asyncio.run(up(settings, environment))


def _web(environment: Mapping[str, str]) -> int:
    settings = Settings.of(environment)
    return _become(parts.web(settings.host, settings.port), environment)


def _worker(environment: Mapping[str, str]) -> int:
    Settings.of(environment)
    return _become(parts.worker(), environment)


def _migrate(environment: Mapping[str, str]) -> int:
    url = database_url(environment)
    importlib.import_module("gpucloud_adapters.postgres.migrate").upgrade(url.reveal())
    return _OK


def _audit(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    url = asked.database_url or environment.get("DATABASE_URL") or None
    try:
        if asked.verb == "export":
            audit_check.export(database_url=url, out=sys.stdout)
            return _OK
        kept = anchor_file(home(environment))
        anchors = asked.anchors or (kept if kept.exists() else None)
        verdict = audit_check.verify(database_url=url, export=asked.export, anchors=anchors)
    except (DomainError, OSError) as error:
        print(f"gpucloud audit {asked.verb}: {error}", file=sys.stderr)
        return _MISUSED
    print(*audit_check.report(verdict), sep="\n")
    return _BAD if verdict.fault else _OK


def _keys(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    url = asked.database_url or database_url(environment).reveal()
    rotate = importlib.import_module("gpucloud_adapters.key_rotation").rotate
    try:
        name, wrapped = rotate(url, home(environment))
    except (DomainError, OSError) as error:
        print(f"gpucloud keys rotate: {error}", file=sys.stderr)
        return _BAD
    print(f"{name} is the master key now; {wrapped} secrets are under it")
    return _OK


def _version(_: Mapping[str, str]) -> int:
    print(f"gpucloud {version('gpucloud')}")
    return _OK


def _become(argv: tuple[str, ...], environment: Mapping[str, str]) -> int:
    sys.stdout.flush()
    os.execve(argv[0], argv, dict(environment))


COMMANDS: Final[dict[str, tuple[Callable[[Mapping[str, str]], int], str]]] = {
    "up": (_up, "Run everything here: databases, web, worker, simulated payments and GPUs."),
    "web": (_web, "Run the web server alone."),
    "worker": (_worker, "Run one worker alone."),
    "migrate": (_migrate, "Bring the database to the newest schema."),
    "version": (_version, "Print the version."),
}

WITH_ARGUMENTS: Final = {
    "audit": _audit,
    "keys": _keys,
    "simulate": simulation.run,
    "plan": plan.run,
}
_KEYS: Final = "Change the key under which secrets are stored."
_AUDIT: Final = "Verify or export the audit trail, without the platform running."

if __name__ == "__main__":
    main()
