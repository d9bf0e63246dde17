"""Text out of a session: a prompt in, tokens and pieces of text out as they are made.

Greedy is the program's own choice: the largest integer logit, the lowest token among equals, as in `lut.argmax`.
Sampling turns integer logits into float64 probabilities, so the same seed gives the same tokens on every backend.
"""

from __future__ import annotations

import itertools
import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lutllm.errors import InputError
from lutllm.models.text import check_embedded
from lutllm.models.tokenizer import text_ends

if TYPE_CHECKING:
    from lutllm.quantized.pretrained import QuantizedModel
    from lutllm.run.session import Session

TEMPLATE_LINES = 1_000_000  # of the program that a chat template is made; real ones run a few thousand
_BYTE = re.compile("<0x[0-9A-F]{2}>")
_REPLACEMENT = "\ufffd"  # what tokenizers put for bytes that are no whole character


@dataclass(frozen=True)
class Sampling:
    """How a token is picked. `temperature` 0 is greedy; `top_k` 0 and `top_p` 1.0 leave every token in."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise InputError(f"expected a temperature of 0 (greedy) or more, got {self.temperature}")
        if self.top_k < 0:
            raise InputError(f"expected top-k of 0 (all tokens) or more, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise InputError(f"expected top-p above 0 and up to 1, got {self.top_p}")
        if self.seed < 0:
            raise InputError(f"expected a seed of 0 or more, got {self.seed}")
        if self.temperature == 0 and (self.top_k or self.top_p < 1):
            raise InputError("expected a temperature above 0 with top-k or top-p, got 0, which is greedy; give one")

    def picker(self) -> Callable[[np.ndarray, int], int]:
        """A function of integer logits [V] and their exponent that gives the next token; it has its own generator."""
        if self.temperature == 0:
            return lambda logits, _exponent: int(np.argmax(logits))
        generator = np.random.default_rng(self.seed)

        def pick(logits: np.ndarray, exponent: int) -> int:
            order, chances = self.distribution(logits, exponent)
            at = int(np.searchsorted(np.cumsum(chances), generator.random(), side="right"))
            return int(order[min(at, len(order) - 1)])

        return pick

    def distribution(self, logits: np.ndarray, exponent: int) -> tuple[np.ndarray, np.ndarray]:
        """The tokens left in, by falling logit, and their probabilities: first top-k, then the smallest set whose
        probability among those reaches top-p."""
        order = np.argsort(-logits.astype(np.int64), kind="stable")[: self.top_k or None]
        kept = logits[order].astype(np.float64)
        weights = np.exp((kept - kept[0]) * (2.0**exponent / self.temperature))
        chances = weights / weights.sum()
        count = int(np.searchsorted(np.cumsum(chances), self.top_p)) + 1 if self.top_p < 1 else len(order)
        return order[:count], chances[:count] / chances[:count].sum()


class TextStream:
    """Tokens in, text out as soon as it is certain: never half a character, and the pieces add up to the whole.

    A run of byte tokens is certain when another token follows: one bad byte makes U+FFFD of all of them.
    """

    _WINDOW = 32  # tokens decoded at once; some stay in front, since a token's text may depend on those before it

    def __init__(self, tokenizer: Any) -> None:
        self._decode = lambda ids: tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        self._bytes = {number for token, number in tokenizer.get_vocab().items() if _BYTE.fullmatch(token)}
        added = getattr(tokenizer, "added_tokens_decoder", {})
        self._skipped = {number for number, token in added.items() if token.special}  # not in the text: no end of a run
        self._in_bytes = False
        self._ids: list[int] = []
        self._shown = 0  # characters of this window that are out

    def push(self, token: int) -> str:
        """The text that `token` makes certain, perhaps none."""
        self._ids.append(token)
        self._in_bytes = token in self._bytes or (self._in_bytes and token in self._skipped)
        if self._in_bytes:
            return ""
        text = self._decode(self._ids)
        piece = self._piece(text.rstrip(_REPLACEMENT))
        if len(self._ids) > self._WINDOW and not text.endswith(_REPLACEMENT):
            self._ids = self._ids[-self._WINDOW // 2 :]
            self._shown = len(self._decode(self._ids))
        return piece

    def finish(self) -> str:
        """What was held back: bytes that never became a character."""
        return self._piece(self._decode(self._ids))

    def _piece(self, text: str) -> str:
        piece = text[self._shown :]
        self._shown = max(self._shown, len(text))
        return piece


@dataclass
class Generation:
    """`stop` says why it ended: `end` (the model said so), `length` (tokens asked for) or `context` (cache full).
    Seconds are those of the prompt, which gives the first token, and of the `steps` after it."""

    prompt: list[int]
    tokens: list[int] = field(default_factory=list)
    text: str = ""
    stop: str = ""
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    steps: int = 0

    @property
    def prefill_speed(self) -> float:
        """Tokens a second."""
        return len(self.prompt) / self.prefill_seconds if self.prefill_seconds else 0.0

    @property
    def decode_speed(self) -> float:
        """Tokens a second after the first."""
        return self.steps / self.decode_seconds if self.steps else 0.0

    def to_dict(self) -> dict[str, Any]:
        return {
            "prompt_ids": self.prompt,
            "token_ids": self.tokens,
            "text": self.text,
            "stop": self.stop,
            "prefill_tokens_per_second": round(self.prefill_speed, 3),
            "decode_tokens_per_second": round(self.decode_speed, 3),
        }


def generate(
    session: Session,
    prompt: Sequence[int],
    limit: int,
    *,
    stops: frozenset[int] | set[int] = frozenset(),
    sampling: Sampling | None = None,
) -> Iterator[int | Generation]:
    """Yield each token as it is made, and the `Generation` last, without its text. A stop token ends it and is not
    given. InputError for a prompt that is empty or longer than the context."""
    found = Generation(list(map(int, prompt)))
    if not found.prompt:
        raise InputError("expected a prompt of at least 1 token, got an empty one; write something")
    if limit < 1:
        raise InputError(f"expected at least 1 token to make, got {limit}")
    if len(found.prompt) > session.context:
        raise InputError(
            f"expected a prompt of at most {session.context} tokens, the context, got {len(found.prompt)}; "
            "shorten it or give a longer --context"
        )
    pick = (sampling or Sampling()).picker()
    session.reset()
    start = time.perf_counter()
    logits = session.forward(found.prompt)
    found.prefill_seconds = time.perf_counter() - start
    while True:
        token = pick(logits[-1], session.logit_exponent)
        if token in stops:
            found.stop = "end"
            break
        found.tokens.append(token)
        yield token
        if len(found.tokens) == limit:
            found.stop = "length"
            break
        if session.position == session.context:
            found.stop = "context"
            break
        start = time.perf_counter()
        logits = session.forward([token])
        found.decode_seconds += time.perf_counter() - start
        found.steps += 1
    yield found


def respond(
    model: QuantizedModel,
    session: Session,
    prompt: str,
    limit: int,
    show: Callable[[str], None],
    *,
    raw: bool = False,
    sampling: Sampling | None = None,
) -> Generation:
    """Answer `prompt`: `show` gets each piece of text. With `raw` the prompt goes on without a chat template."""
    ids = prompt_ids(model.tokenizer, prompt, raw=raw)
    stream, pieces = TextStream(model.tokenizer), []

    def out(piece: str) -> None:
        if piece:
            pieces.append(piece)
            show(piece)

    for made in generate(session, ids, limit, stops=stop_ids(model), sampling=sampling):
        if isinstance(made, Generation):
            out(stream.finish())
            made.text = "".join(pieces)
            return made
        out(stream.push(made))
    raise AssertionError("generate ends with a Generation")


def prompt_ids(tokenizer: Any | None, prompt: str, *, raw: bool = False) -> list[int]:
    """Token ids of a prompt, as one turn of a chat where the tokenizer has a template and `raw` is not asked for."""
    if tokenizer is None:
        raise InputError("expected a model with a tokenizer, got none; add tokenizer.json to its directory")
    if not prompt.strip():
        raise InputError("expected a prompt, got an empty one; write something")
    if raw or not getattr(tokenizer, "chat_template", None):
        return _embedded(tokenizer, tokenizer(prompt))
    turns = [{"role": "user", "content": prompt}]
    try:
        with _lines_at_most(TEMPLATE_LINES):
            text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    except Exception as error:  # a template is a program of the model's author
        line = " ".join(str(error).split())
        raise InputError(f"expected a chat template that can be applied, got {line}; give --raw") from None
    return _embedded(tokenizer, tokenizer(text, add_special_tokens=False))


def _embedded(tokenizer: Any, tokenized: Any) -> list[int]:
    ids = list(tokenized["input_ids"])
    check_embedded(tokenizer, np.array(ids))
    return ids


@contextmanager
def _lines_at_most(count: int) -> Iterator[None]:
    """Stop Python code that runs more lines than this."""
    left = itertools.count(count, -1)

    def trace(_frame: Any, event: str, _argument: Any) -> Any:
        if event == "line" and next(left) <= 0:
            raise TimeoutError(f"one that goes on after {count:,} lines of its program")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def stop_ids(model: QuantizedModel) -> set[int]:
    """The tokens that end a text: of the generation configuration, the configuration and the tokenizer."""
    found: set[int] = set()
    for values in (model.generation or {}, model.config):
        found |= _ids(values)
    return found | (set() if model.tokenizer is None else text_ends(model.tokenizer))


def _ids(values: Mapping[str, Any]) -> set[int]:
    """`eos_token_id` is a number, a list of them, or nothing."""
    given = values.get("eos_token_id")
    listed = given if isinstance(given, list) else [given]
    return {one for one in listed if isinstance(one, int)}
