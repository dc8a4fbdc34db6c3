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
from typing import Final

from gpucloud_adapters import parts
from gpucloud_adapters.settings import Settings, SettingsInvalid, UpSettings, database_url

_OK: Final = 0
_MISUSED: Final = 2


def main() -> None:
    sys.exit(run(sys.argv[1:], os.environ))


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run one command; return the status to exit with."""
    command = _parser().parse_args(arguments).command
    try:
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
    return parser


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

if __name__ == "__main__":
    main()
