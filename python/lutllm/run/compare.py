"""Beside the float model: its module, a session of integers and windows of tokens in; perplexities, divergence out."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lutllm.models.text import token_ids

if TYPE_CHECKING:
    from lutllm.run.session import Session

_ROWS = 64  # of logits that are floats at a time


@dataclass(frozen=True)
class Comparison:
    """`reference` and `integers` are perplexities, `kl` the mean KL(float || integers) of a token in nats, `top1` the
    share of tokens after which both find the same token likeliest."""

    reference: float
    integers: float
    kl: float
    top1: float


def compare(module: Any, session: "Session", windows: Iterable[Sequence[int] | np.ndarray]) -> Comparison:
    """Over each window's tokens after its first, every window from an empty context; sums in float64."""
    sums, count = np.zeros(4), 0
    for window in windows:
        ids = np.asarray(window)
        session.reset()
        integers = session.forward(ids[:-1], all_logits=True)
        floats = module(token_ids(ids[:-1], module.device), use_cache=False).logits[0].float().cpu().numpy()
        for at in range(0, len(floats), _ROWS):
            p = _log_softmax(floats[at : at + _ROWS])
            q = _log_softmax(integers[at : at + _ROWS] * 2.0**session.logit_exponent)
            wanted = np.arange(len(p)), ids[1 + at : 1 + at + len(p)]
            same = p.argmax(axis=1) == q.argmax(axis=1)
            sums += -p[wanted].sum(), -q[wanted].sum(), (np.exp(p) * (p - q)).sum(), same.sum()
        count += len(floats)
    reference, integers, kl, top1 = sums / count
    return Comparison(math.exp(reference), math.exp(integers), float(kl), float(top1))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    """[T, V] in float64."""
    shifted = logits - logits.max(axis=1, keepdims=True).astype(np.float64)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
