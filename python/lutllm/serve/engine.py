"""Answers for many clients at a time: jobs in from any thread, events of each out as they come.

One worker runs the program, a step of each running job at a time, each on a sequence of its own: parts of prompts one
after the other, the next tokens of all others at once. The tokens of a job are those it would have alone. It gets the
sequence that has read most of its prompt before.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lutllm.errors import LutllmError
from lutllm.run.compare import log_softmax
from lutllm.run.generate import Answer, Generation, Generator
from lutllm.run.prompts import stop_ids
from lutllm.run.sampling import Sampling

if TYPE_CHECKING:
    from lutllm.quantized.pretrained import QuantizedModel
    from lutllm.run.session import Session


class QueueFull(LutllmError):
    """As many jobs wait as may."""


@dataclass(frozen=True)
class Likely:
    """A token made, with its log probability, and the likeliest tokens at its place with theirs."""

    token: int
    log_probability: float
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Event:
    """Of a job: a `piece` of text, perhaps empty, the token behind it where log probabilities were asked for, and at
    the end of a job why it ended: `done`, or an `error`."""

    piece: str = ""
    likely: Likely | None = None
    done: Generation | None = None
    error: str = ""


@dataclass(eq=False)
class Job:
    """A prompt to answer with at most `limit` tokens, up to one of `strings`; `tell` gets its events, in the worker's
    thread. With `likely`, so many of the likeliest tokens are told of each token. `seconds` after it came it ends."""

    prompt: Sequence[int]
    limit: int
    sampling: Sampling
    tell: Callable[[Event], None]
    strings: Sequence[str] = ()
    likely: int | None = None
    seconds: float = float("inf")
    cancelled: bool = False
    came: float = field(default_factory=time.monotonic)


@dataclass(eq=False)
class _Running:
    job: Job
    answer: Answer


class Engine:
    """The worker of a model: `parallel` jobs run at a time, `waiting` more wait. LutllmError of a job ends it alone."""

    def __init__(self, model: QuantizedModel, session: Session, *, parallel: int = 4, waiting: int = 64) -> None:
        self.model, self.most = model, waiting
        self.context, self.vocabulary = session.context, session.vocabulary
        self._stops = stop_ids(model)
        self._free = [session, *(session.another() for _ in range(parallel - 1))]
        self._waiting: deque[Job] = deque()
        self._running: list[_Running] = []
        self._changed = threading.Condition()
        self._closed = False
        self._worker = threading.Thread(target=self._work, name="answers", daemon=True)
        self._worker.start()

    def submit(self, *jobs: Job) -> None:
        """Take all of these jobs, or raise `QueueFull` for all."""
        with self._changed:
            if len(self._waiting) + len(jobs) > self.most + len(self._free):
                raise QueueFull(f"expected at most {self.most} requests that wait, got more; try again later")
            self._waiting += jobs
            self._changed.notify()

    def close(self) -> None:
        """End the worker after its step."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._worker.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._running or self._closed)
                if self._closed:
                    return
                while self._free and self._waiting:
                    self._begin(self._waiting.popleft())
            self._round([one for one in list(self._running) if not self._left(one)])

    def _begin(self, job: Job) -> None:
        if self._gone(job):
            return
        session = max(self._free, key=lambda one: one.common(job.prompt))
        try:
            generator = Generator(session, job.prompt, job.limit, stops=self._stops, sampling=job.sampling)
        except LutllmError as error:
            job.tell(Event(error=error.message))
            return
        self._free.remove(session)
        self._running.append(_Running(job, Answer(self.model, generator, job.strings)))

    def _gone(self, job: Job) -> bool:
        """Whether nobody waits for a job any more."""
        late = time.monotonic() - job.came > job.seconds
        if late and not job.cancelled:
            job.tell(Event(error=f"expected an answer within {job.seconds:g} s, got none; ask for fewer tokens"))
        return late or job.cancelled

    def _left(self, running: _Running) -> bool:
        """Whether nobody waits for a job any more, which ends it."""
        if gone := self._gone(running.job):
            self._end(running)
        return gone

    def _round(self, jobs: Sequence[_Running]) -> None:
        """A step of each."""
        making = [one for one in jobs if one.answer.generator.making]
        logits: dict[int, np.ndarray] = {}
        if making:
            sessions, start = [one.answer.generator.session for one in making], time.perf_counter()
            with self._failing(making):
                made = sessions[0].forward_each(sessions, [one.answer.found.tokens[-1] for one in making])
                logits = {id(one): row for one, row in zip(making, made, strict=True)}
                for one in making:
                    one.answer.found.decode_seconds += time.perf_counter() - start
        for running in jobs:
            if running in self._running:
                with self._failing([running]):
                    self._step(running, logits.get(id(running)))

    @contextmanager
    def _failing(self, jobs: Sequence[_Running]) -> Iterator[None]:
        """An exception, of whatever kind, ends these jobs: others go on."""
        try:
            yield
        except Exception as error:
            for running in jobs:
                running.answer.generator.session.reset()
                running.job.tell(Event(error=f"expected an answer, got {type(error).__name__}: {error}"))
                self._end(running)

    def _end(self, running: _Running) -> None:
        self._running.remove(running)
        with self._changed:
            self._free.append(running.answer.generator.session)

    def _step(self, running: _Running, logits: np.ndarray | None) -> None:
        job, found = running.job, running.answer.found
        before = len(found.tokens)
        piece = running.answer.step(logits)
        likely = self._likely(running) if job.likely is not None and len(found.tokens) > before else None
        if piece or likely or found.stop:
            job.tell(Event(piece, likely, found if found.stop else None))
        if found.stop:
            self._end(running)

    def _likely(self, running: _Running) -> Likely:
        logits, session = running.answer.generator.logits, running.answer.generator.session
        chances, token = log_softmax(logits * 2.0**session.logit_exponent), running.answer.found.tokens[-1]
        top = np.argsort(-logits.astype(np.int64), kind="stable")[: running.job.likely]
        return Likely(token, float(chances[token]), tuple((int(one), float(chances[one])) for one in top))
