"""How a token is picked: integer logits and the tokens before in, a token out.

Greedy is the program's own choice: the largest integer logit, the lowest token among equals, as in `lut.argmax`.
Sampling turns integer logits into float64 probabilities, so a seed gives the same tokens on every backend. Filters
and their order are llama.cpp's (its default chain of samplers): penalties, top-k, top-p, min-p, temperature.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lutllm.errors import InputError

Picker = Callable[[np.ndarray, int, Sequence[int]], int]


@dataclass(frozen=True)
class Sampling:
    """`temperature` 0 is greedy. `top_k` 0, `top_p` 1.0 and `min_p` 0.0 leave every token in. Penalties are for tokens
    among the last `repeat_last_n` of prompt and answer: logits above 0 are divided by `repeat_penalty`, others
    multiplied; then `frequency_penalty` is taken off for each time a token stands there, `presence_penalty` once."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    repeat_last_n: int = 64
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("top_k", "repeat_last_n", "seed"):
            value = getattr(self, name)
            if value < 0:
                raise InputError(f"expected {_words(name)} of 0 or more, got {value}")
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise InputError(f"expected a temperature of 0 (greedy) or more, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise InputError(f"expected top-p above 0 and up to 1, got {self.top_p}")
        if not 0 <= self.min_p <= 1:
            raise InputError(f"expected min-p from 0 to 1, got {self.min_p}")
        if not (math.isfinite(self.repeat_penalty) and self.repeat_penalty > 0):
            raise InputError(f"expected repeat-penalty above 0, got {self.repeat_penalty}")
        for name in ("frequency_penalty", "presence_penalty"):
            if not abs(getattr(self, name)) <= 2:  # as the API of OpenAI has it
                raise InputError(f"expected {_words(name)} from -2 to 2, got {getattr(self, name)}")
        if self.temperature == 0 and (self.top_k or self.top_p < 1 or self.min_p):
            raise InputError("expected a temperature above 0 with top-k, top-p or min-p, got 0, which is greedy")

    @property
    def penalizes(self) -> bool:
        return self.repeat_penalty != 1 or bool(self.frequency_penalty or self.presence_penalty)

    def picker(self) -> Picker:
        """A function of integer logits [V], their exponent and the tokens before that gives the next token; it has its
        own generator."""
        generator = np.random.default_rng(self.seed)

        def pick(logits: np.ndarray, exponent: int, before: Sequence[int]) -> int:
            if self.temperature == 0:
                return int(np.argmax(self.penalized(logits, exponent, before) if self.penalizes else logits))
            order, chances = self.distribution(logits, exponent, before)
            at = int(np.searchsorted(np.cumsum(chances), generator.random(), side="right"))
            return int(order[min(at, len(order) - 1)])

        return pick

    def distribution(
        self, logits: np.ndarray, exponent: int, before: Sequence[int] = ()
    ) -> tuple[np.ndarray, np.ndarray]:
        """The tokens left in, by falling logit, and their probabilities."""
        values = self.penalized(logits, exponent, before)
        order = np.argsort(-values, kind="stable")[: self.top_k or None]
        chances = _softmax(values[order])
        if self.top_p < 1:
            order = order[: int(np.searchsorted(np.cumsum(chances), self.top_p)) + 1]
        order = order[chances[: len(order)] >= self.min_p * chances[0]]
        return order, _softmax(values[order] / self.temperature)

    def penalized(self, logits: np.ndarray, exponent: int, before: Sequence[int]) -> np.ndarray:
        """Logits [V] as float64, after penalties."""
        values = logits.astype(np.float64) * 2.0**exponent
        if self.penalizes and self.repeat_last_n:
            tokens, counts = np.unique(np.asarray(before[-self.repeat_last_n :], np.int64), return_counts=True)
            found = values[tokens]
            found = np.where(found > 0, found / self.repeat_penalty, found * self.repeat_penalty)
            values[tokens] = found - counts * self.frequency_penalty - self.presence_penalty
        return values


def _softmax(values: np.ndarray) -> np.ndarray:
    weights = np.exp(values - values.max())
    return weights / weights.sum()


def _words(name: str) -> str:
    return name.replace("_", "-")
