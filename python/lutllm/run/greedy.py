"""Greedy texts of a quantized model beside its float model's: prompts in; how long they agree, and loops, out.

Perplexity can stay where text breaks down, so both programs go on from the same prompts by their own tokens, each time
the likeliest, and end at no stop token.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lutllm.models.text import token_ids

if TYPE_CHECKING:
    from lutllm.run.session import Session

PROMPT, TOKENS = 32, 64  # of each: read, and written
PERIOD = 16  # tokens of the longest loop that is looked for

Reader = Callable[[np.ndarray], np.ndarray]  # ids [T] that follow what was read before, logits [V] after the last out


@dataclass(frozen=True)
class Greedy:
    """Over `prompts` prompts, each gone on with by `tokens` tokens: `agreed`, the mean share of tokens before the first
    that is not the float model's; `loops` and `float_loops`, the shares of texts that end in a loop (see `loops`)."""

    prompts: int
    tokens: int
    agreed: float
    loops: float
    float_loops: float


def module_reader(module: Any) -> Reader:
    """A float CausalLM from an empty context."""
    import torch

    cache = None

    def read(ids: np.ndarray) -> np.ndarray:
        nonlocal cache
        with torch.no_grad():
            out = module(token_ids(ids, module.device), past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        return out.logits[0, -1].float().cpu().numpy()

    return read


def session_reader(session: "Session") -> Reader:
    """An integer program from an empty context."""
    session.reset()
    return lambda ids: session.forward(ids)[-1]


def greedy(read: Reader, prompt: Sequence[int] | np.ndarray, tokens: int) -> list[int]:
    """The `tokens` tokens, the first of the likeliest each time, that follow `prompt`."""
    found, ids = [], np.asarray(prompt)
    for _ in range(tokens):
        found.append(int(read(ids).argmax()))
        ids = np.array(found[-1:])
    return found


def loops(ids: Sequence[int]) -> bool:
    """Whether the last half of a text repeats itself with a period of at most `PERIOD` and half its own length."""
    half = len(ids) // 2
    tail = list(ids)[-half:]
    return any(tail[period:] == tail[:-period] for period in range(1, min(PERIOD, half // 2) + 1))


def compare_greedy(module: Any, session: "Session", prompts: Iterable[np.ndarray], tokens: int) -> Greedy:
    """`tokens` tokens after each of `prompts` by a float CausalLM and by its integers."""
    shares, looped = [], []
    for prompt in prompts:
        wanted, got = (greedy(read, prompt, tokens) for read in (module_reader(module), session_reader(session)))
        same = next((i for i, (a, b) in enumerate(zip(wanted, got, strict=True)) if a != b), tokens)
        shares.append(same / tokens)
        looped.append((loops(got), loops(wanted)))
    (own, reference), agreed = np.mean(looped, axis=0), float(np.mean(shares))
    return Greedy(len(shares), tokens, agreed, float(own), float(reference))
