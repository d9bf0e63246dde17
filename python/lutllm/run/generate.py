"""Text out of a session: a prompt in, tokens and pieces of text out as they are made."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lutllm.errors import InputError
from lutllm.run.prompts import stop_ids
from lutllm.run.sampling import Sampling
from lutllm.run.session import CHUNK
from lutllm.run.text_stream import StopStrings, TextStream
from lutllm.tabular import Tabular

if TYPE_CHECKING:
    from lutllm.quantized.pretrained import QuantizedModel
    from lutllm.run.session import Session


@dataclass
class Generation(Tabular):
    """`stop` says why it ended: `end` (the model said so), `length` (tokens asked for), `context` (cache full) or
    `text` (a stop string). Seconds are those of the prompt, which gives the first token, and of the `steps` after it.
    The first `reused` tokens of the prompt were in the cache."""

    prompt: list[int]
    tokens: list[int] = field(default_factory=list)
    text: str = ""
    stop: str = ""
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    steps: int = 0
    reused: int = 0

    @property
    def prefill_speed(self) -> float:
        """Tokens a second."""
        return (len(self.prompt) - self.reused) / self.prefill_seconds if self.prefill_seconds else 0.0

    @property
    def decode_speed(self) -> float:
        """Tokens a second after the first."""
        return self.steps / self.decode_seconds if self.steps else 0.0

    def records(self) -> list[dict[str, Any]]:
        return [self.to_dict()]

    def __str__(self) -> str:
        return self.text

    def to_dict(self) -> dict[str, Any]:
        return {
            "prompt_ids": self.prompt,
            "token_ids": self.tokens,
            "text": self.text,
            "stop": self.stop,
            "prefill_tokens_per_second": round(self.prefill_speed, 3),
            "decode_tokens_per_second": round(self.decode_speed, 3),
        }


class Generator:
    """One answer, made a `step` at a time until `found.stop` says why it ended; others may take steps in between, on
    sessions of their own. `logits` [V] are those that the last token was picked from. InputError for a prompt that is
    empty or longer than the context."""

    def __init__(
        self,
        session: Session,
        prompt: Sequence[int],
        limit: int,
        *,
        stops: Collection[int] = (),
        sampling: Sampling | None = None,
    ) -> None:
        self.found = Generation(list(map(int, prompt)))
        if not self.found.prompt:
            raise InputError("expected a prompt of at least 1 token, got an empty one; write something")
        if limit < 1:
            raise InputError(f"expected at least 1 token to make, got {limit}")
        if len(self.found.prompt) > session.context:
            raise InputError(
                f"expected a prompt of at most {session.context} tokens, the context, got {len(self.found.prompt)}; "
                "shorten it or give a longer --context"
            )
        self.session, self.limit, self.stops = session, limit, stops
        self.logits = np.empty(0, np.int32)
        self._pick = (sampling or Sampling()).picker()
        self._read = self.found.reused = session.seek(self.found.prompt)
        self._before = list(self.found.prompt)  # all that stands before the next token

    @property
    def making(self) -> bool:
        """Whether the next step reads the last token made, and nothing else."""
        found = self.found
        more = len(found.tokens) < self.limit and self.session.position < self.session.context
        return more and bool(found.tokens) and not found.stop

    def step(self, logits: np.ndarray | None = None) -> int | None:
        """Read a part of the prompt; then the next token, or None: there is none yet, or no more. `logits` [V] where
        the session has read the last token made."""
        found, session, start = self.found, self.session, time.perf_counter()
        if self._read < len(found.prompt):
            part = found.prompt[self._read : self._read + CHUNK]
            self.logits = session.forward(part)[-1]
            self._read += len(part)
            found.prefill_seconds += time.perf_counter() - start
            if self._read < len(found.prompt):
                return None
        elif logits is None and not self.making:
            found.stop = "length" if len(found.tokens) == self.limit else "context"
            return None
        else:
            self.logits = session.forward(found.tokens[-1:])[-1] if logits is None else logits
            found.decode_seconds += time.perf_counter() - start
            found.steps += 1
        token = self._pick(self.logits, session.logit_exponent, self._before)
        if token in self.stops:
            found.stop = "end"
            return None
        found.tokens.append(token)
        self._before.append(token)
        return token


def generate(session: Session, prompt: Sequence[int], limit: int, **options: Any) -> Iterator[int | Generation]:
    """Yield each token as it is made, and the `Generation` last, without its text. A stop token ends it and is not
    given. `options` and errors are those of `Generator`."""
    made = Generator(session, prompt, limit, **options)
    while not made.found.stop:
        token = made.step()
        if token is not None:
            yield token
    yield made.found


class Answer:
    """An answer as text: a `Generator` whose tokens become certain text, up to a stop string."""

    def __init__(self, model: QuantizedModel, generator: Generator, strings: Sequence[str] = ()) -> None:
        self.generator, self.found = generator, generator.found
        self._stream, self._stops = TextStream(model.tokenizer), StopStrings(strings)

    def step(self, logits: np.ndarray | None = None) -> str:
        """One step, of `logits` or not as in `Generator`: the piece of text that it makes certain, perhaps none. The
        last one makes all certain."""
        token = self.generator.step(logits)
        piece = self._stops.push(self._stream.push(token)) if token is not None else ""
        if self._stops.found:
            self.found.stop = "text"
        elif self.found.stop:
            piece += self._stops.push(self._stream.finish())
            piece += self._stops.finish()
        self.found.text += piece
        return piece


def respond(
    model: QuantizedModel,
    session: Session,
    prompt: Sequence[int],
    limit: int,
    show: Callable[[str], None],
    *,
    sampling: Sampling | None = None,
    strings: Sequence[str] = (),
) -> Generation:
    """Answer a prompt: `show` gets each piece of text. KeyboardInterrupt comes between two steps: never while other
    threads wait for this one."""
    generator = Generator(session, prompt, limit, stops=stop_ids(model), sampling=sampling)
    answer = Answer(model, generator, strings)
    with _interrupts() as seen:
        while not answer.found.stop:
            piece = answer.step()
            if piece:
                show(piece)
            if seen:
                raise KeyboardInterrupt
    return answer.found


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """The signals of Ctrl-C that came, which interrupt nothing; elsewhere than in the main thread none do."""
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return
    before = signal.signal(signal.SIGINT, lambda number, _frame: seen.append(number))
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)
