"""Programs beside a reference: functions from tokens to logits and windows in; perplexities and divergences out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lutllm.models.text import perplexity_of, token_ids

if TYPE_CHECKING:
    from lutllm.run.session import Session

Program = Callable[[np.ndarray], np.ndarray]  # token ids [T] from an empty context to logits [T, V]
_ROWS = 64  # of logits that are worked on at a time


@dataclass(frozen=True)
class Comparison:
    """`perplexity` of one program; `kl`, its mean KL(reference || program) of a token in nats; `top1`, the share of
    tokens after which both find the same token likeliest."""

    perplexity: float
    kl: float
    top1: float


def of_module(module: Any) -> Program:
    """A float CausalLM."""
    return lambda ids: module(token_ids(ids, module.device), use_cache=False).logits[0].float().cpu().numpy()


def of_session(session: "Session") -> Program:
    """An integer program."""

    def run(ids: np.ndarray) -> np.ndarray:
        session.reset()
        return session.forward(ids, all_logits=True) * 2.0**session.logit_exponent

    return run


def compare(
    reference: Program, programs: Mapping[str, Program], windows: Iterable[Sequence[int] | np.ndarray]
) -> tuple[float, dict[str, Comparison]]:
    """(perplexity of `reference`, each of `programs` beside it), over the tokens of each window after its first. Every
    window starts from an empty context; sums are float64."""
    sums, count = np.zeros((len(programs) + 1, 3)), 0
    for window in windows:
        ids = np.asarray(window)
        wanted, found = reference(ids[:-1]), [program(ids[:-1]) for program in programs.values()]
        for at in range(0, len(wanted), _ROWS):
            rows, tokens = slice(at, at + _ROWS), ids[1:][at : at + _ROWS]
            p = log_softmax(wanted[rows])
            for total, logits in zip(sums, (wanted, *found), strict=True):
                q = log_softmax(logits[rows])
                same = q.argmax(axis=1) == p.argmax(axis=1)
                total += -q[np.arange(len(q)), tokens].sum(), (np.exp(p) * (p - q)).sum(), same.sum()
        count += len(wanted)
    own, *others = [(perplexity_of(loss, count), float(kl / count), float(top1 / count)) for loss, kl, top1 in sums]
    return own[0], {name: Comparison(*values) for name, values in zip(programs, others, strict=True)}


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Natural logarithms of probabilities, over the last axis, in float64."""
    shifted = logits - logits.max(axis=-1, keepdims=True).astype(np.float64)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
