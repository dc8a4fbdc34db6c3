"""The holdings of a host in one JSON file, replaced in one step.

Specs and proofs are written as they cross the wire, so that what is read back has passed the same
checks.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Final

from gpucloud_adapters.simulated.host.identity import write_private
from gpucloud_core.kernel.time import rfc3339
from gpucloud_core.nodes.holdings import HeldSlice, Holdings, Stage
from gpucloud_core.nodes.model import NodeMode
from gpucloud_core.nodes.wire import PROVISION, WIPE
from gpucloud_core.nodes.wire_values import claim_id, key_line

_VERSION: Final = 1


class HoldingsFile:
    """Loads and saves what one host holds."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Holdings:
        """Return what was saved last; nothing on the first start.

        Raises:
            ValueError, NodeRefused: the file is not one of ours.
        """
        if not self._path.exists():
            return Holdings()
        document = json.loads(self._path.read_text(encoding="utf-8"))
        if document.get("version") != _VERSION:
            raise ValueError(f"{self._path} has a version that this program does not know")
        records = [
            HeldSlice(
                spec=PROVISION.asks.parse(row["spec"], exact=True),
                stage=Stage(row["stage"]),
                since=datetime.fromisoformat(row["since"]),
                keys=tuple(key_line(key) for key in row["keys"]),
                restarted=int(row.get("restarted", 0)),
                proof=WIPE.answers.parse(row["proof"], exact=True) if row["proof"] else None,
            )
            for row in document["records"]
        ]
        never_made = document.get("never_made", {})  # absent in files from before it was kept
        return Holdings(
            records={held.spec.claim_id: held for held in records},
            never_made={
                claim_id(name): datetime.fromisoformat(at) for name, at in never_made.items()
            },
            mode=NodeMode(document.get("mode", NodeMode.CONTAINER)),  # likewise
        )

    def save(self, holdings: Holdings) -> None:
        """Write ``holdings``; when this returns they survive a crash."""
        document = {
            "version": _VERSION,
            "records": [
                {
                    "spec": PROVISION.asks.plain(held.spec),
                    "stage": held.stage,
                    "since": rfc3339(held.since),
                    "keys": list(held.keys),
                    "restarted": held.restarted,
                    "proof": WIPE.answers.plain(held.proof) if held.proof else None,
                }
                for held in holdings.records.values()
            ],
            "never_made": {name: rfc3339(at) for name, at in holdings.never_made.items()},
            "mode": holdings.mode,
        }
        write_private(self._path, json.dumps(document, indent=1).encode() + b"\n")
