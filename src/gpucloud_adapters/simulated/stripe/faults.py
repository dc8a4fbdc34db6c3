"""What goes wrong on purpose, drawn from one seed so that a failure can be played again."""

from dataclasses import dataclass, field, fields
from random import Random
from typing import Final

_OVERTAKEN_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How often each thing goes wrong, from 0 (never) to 1 (always).

    Attributes:
        duplicate: a delivered event is delivered once more.
        reorder: an event waits, so that later ones overtake it.
        lose_answer: a request is carried out, and its answer lost.
        search_lag_seconds: how long a search does not know of what was just made.
    """

    duplicate: float = 0.0
    reorder: float = 0.0
    lose_answer: float = 0.0
    search_lag_seconds: float = 0.0
    seed: int = 0
    _random: Random = field(default_factory=Random, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._random.seed(self.seed)

    @classmethod
    def parse(cls, text: str) -> "Faults":
        """Read ``duplicate=0.5,reorder=1,seed=7``.

        Raises:
            ValueError: an unknown fault, or no number.
        """
        known = {one.name for one in fields(cls) if not one.name.startswith("_")}
        chosen: dict[str, float] = {}
        for part in filter(None, text.split(",")):
            name, _, value = part.partition("=")
            if name not in known:
                raise ValueError(f"no such fault: {name}; there are {', '.join(sorted(known))}")
            chosen[name] = float(value)
        return cls(
            duplicate=chosen.get("duplicate", 0.0),
            reorder=chosen.get("reorder", 0.0),
            lose_answer=chosen.get("lose_answer", 0.0),
            search_lag_seconds=chosen.get("search_lag_seconds", 0.0),
            seed=int(chosen.get("seed", 0)),
        )

    def delivers_again(self) -> bool:
        return self._random.random() < self.duplicate

    def loses_answer(self) -> bool:
        return self._random.random() < self.lose_answer

    def delay(self) -> float:
        """Return how many seconds an event waits before it is first delivered."""
        if self._random.random() >= self.reorder:
            return 0.0
        return self._random.uniform(0, _OVERTAKEN_SECONDS)
