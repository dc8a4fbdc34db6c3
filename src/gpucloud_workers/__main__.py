"""``python -m gpucloud_workers``: one worker process."""

import asyncio
import os
import sys

from gpucloud_adapters.logs import configure_logs
from gpucloud_adapters.settings import Settings, SettingsInvalid
from gpucloud_workers.app import serve


def main() -> int:
    """Run until asked to stop; return the exit code."""
    configure_logs()
    try:
        settings = Settings.of(os.environ)
    except SettingsInvalid as invalid:
        for fault in invalid.faults:
            print(fault, file=sys.stderr)  # noqa: T201  a program's own words to its operator
        return 2
    asyncio.run(serve(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
