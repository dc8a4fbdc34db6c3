"""Chance that can be had again: everything random in a world comes from its seed."""

import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """The chance of one actor: a stream of its own, so that one more actor moves no other's."""

    def __init__(self, seed: int, actor: str) -> None:
        # A text seeds by its SHA-512: the same in every process, whatever hashes Python uses.
        self._random = random.Random(f"{seed}/{actor}")  # noqa: S311  dice, not secrets

    def chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def between(self, least: float, most: float) -> float:
        return self._random.uniform(least, most)

    def whole(self, least: int, most: int) -> int:
        """Return a whole number of this range, both ends included."""
        return self._random.randint(least, most)

    def pick(self, choices: Sequence[T]) -> T:
        return self._random.choice(choices)

    def weighed(self, weights: Mapping[T, float]) -> T:
        return self._random.choices(list(weights), list(weights.values()))[0]

    def wait(self, mean: float) -> float:
        """Return how long until something that happens every ``mean`` seconds happens again."""
        return self._random.expovariate(1 / mean)
