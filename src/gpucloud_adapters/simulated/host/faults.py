"""The fault script: which verb misbehaves how, how often, on which host.

A script is data (JSON), so that a test, a demo and a bug report can carry the same one. Rules are
asked in order and the first that applies is used up by one. Chance comes from the script's own
seed: the same calls meet the same faults.
"""

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from gpucloud_core.nodes import wire

CONNECT: Final = "connect"
"""The operator's connection, before any verb."""
LOGIN: Final = "login"
"""A customer's connection to a slice."""
DISCOVER: Final = "discover"
"""Each of the node's own tools."""
SHELL: Final = "shell"

VERBS: Final = frozenset(
    exchange.verb
    for exchange in (
        wire.PROBE,
        wire.SET_MODE,
        wire.PROVISION,
        wire.SET_KEYS,
        wire.VERIFY,
        wire.RESTART,
        wire.CUT_OFF,
        wire.RELEASE,
        wire.WIPE,
        wire.VERIFY_CLEAN,
        wire.LIST,
    )
)


class FaultKind(StrEnum):
    SLOW = "slow"  # waits ``seconds``, then does it properly, whether anybody waits for it or not
    HANG = "hang"  # never answers; does nothing
    RESET = "reset"  # does it, then breaks the connection in the middle of the answer
    FAIL_AFTER_DOING = "fail_after_doing"  # does it, then says that it failed
    OK_WITHOUT_DOING = "ok_without_doing"  # says it did, and did not
    GARBAGE = "garbage"  # answers something that is no answer; does nothing
    GPU_LOSS = "gpu_loss"  # the last ``gpus`` GPUs of the node are gone while it looks
    WRONG_HOST_KEY = "wrong_host_key"  # shows another host key


_AT_THE_DOOR: Final = frozenset({FaultKind.WRONG_HOST_KEY, FaultKind.RESET})
_OF_TOOLS: Final = frozenset(
    {
        FaultKind.SLOW,
        FaultKind.HANG,
        FaultKind.RESET,
        FaultKind.GARBAGE,
        FaultKind.GPU_LOSS,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One rule.

    Attributes:
        verb: a verb of the node program, or ``connect``, ``login``, ``discover``, ``shell``.
        host: name of the host, or ``*`` for all.
        said: only a verb whose document has these words, such as a machine's name.
        count: how many calls it spoils; ``skip`` that many first.
        percent: chance that it applies to a call; a call it spares is not counted.
        seconds: of ``slow``.
        gpus: of ``gpu_loss``.
    """

    verb: str
    kind: FaultKind
    host: str = "*"
    said: str = ""
    count: int = 1
    skip: int = 0
    percent: int = 100
    seconds: int = 3
    gpus: int = 1

    def __post_init__(self) -> None:
        if self.kind not in self._possible():
            raise ValueError(f"the fault {self.kind} cannot happen to {self.verb!r}")
        if min(self.count, self.seconds, self.gpus) < 1 or self.skip < 0:
            raise ValueError("count, seconds and gpus are at least 1, skip at least 0")
        if not 1 <= self.percent <= 100:  # noqa: PLR2004  per cent
            raise ValueError("percent is from 1 to 100")

    def _possible(self) -> frozenset[FaultKind]:
        if self.verb in {CONNECT, LOGIN}:
            return _AT_THE_DOOR
        if self.verb in {DISCOVER, SHELL}:
            return _OF_TOOLS
        if self.verb in VERBS:
            return frozenset(FaultKind) - {FaultKind.WRONG_HOST_KEY}
        raise ValueError(f"there is no verb {self.verb!r}")


class FaultScript:
    """The rules and how far each is used up."""

    def __init__(self, faults: Iterable[Fault] = (), *, seed: int = 0) -> None:
        self._faults = tuple(faults)
        self._left = [fault.count for fault in self._faults]
        self._skip = [fault.skip for fault in self._faults]
        self._chance = random.Random(seed)  # noqa: S311  repeatable on purpose; guards nothing

    def take(self, host: str, verb: str, said: str = "") -> Fault | None:
        """Return the fault that meets this call, if any, and count it."""
        for index, fault in enumerate(self._faults):
            if fault.verb != verb or fault.host not in {"*", host} or not self._left[index]:
                continue
            if fault.said not in said:
                continue
            if fault.percent < 100 and self._chance.randrange(100) >= fault.percent:  # noqa: PLR2004  per cent
                continue
            if self._skip[index]:
                self._skip[index] -= 1
                continue
            self._left[index] -= 1
            return fault
        return None

    @classmethod
    def load(cls, path: Path) -> "FaultScript":
        """Read a script from its file.

        Raises:
            ValueError: what is wrong with it.
        """
        return cls.of(json.loads(path.read_text(encoding="utf-8")))

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "FaultScript":
        """Read ``{"seed": 1, "faults": [{"verb": "wipe", "kind": "hang"}, …]}``.

        Raises:
            ValueError: what is wrong with it.
        """
        known = {field.name for field in fields(Fault)}
        faults: list[Fault] = []
        for number, row in enumerate(document.get("faults", ()), start=1):
            if unknown := set(row) - known:
                raise ValueError(f"fault {number}: unknown field {min(unknown)!r}")
            try:
                faults.append(Fault(**{**row, "kind": FaultKind(row["kind"])}))
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"fault {number}: {error}") from error
        return cls(faults, seed=document.get("seed", 0))
