"""Answers for many clients at a time: jobs in from any thread, events of each out as they come.

One worker runs the program. It takes turns, a step of each running job at a time, each on a sequence of its own: the
tokens of a job are those it would have alone. A job gets the sequence that has read most of its prompt before.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
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


@dataclass
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
            for running in list(self._running):
                self._step(running)

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

    def _step(self, running: _Running) -> None:
        job, answer = running.job, running.answer
        ended = self._gone(job)
        if not ended:
            before, found = len(answer.found.tokens), answer.found
            try:
                piece = answer.step()
            except Exception as error:  # of whatever kind: other jobs go on
                answer.generator.session.reset()
                job.tell(Event(error=f"expected an answer, got {type(error).__name__}: {error}"))
                ended = True
            else:
                likely = self._likely(running) if job.likely is not None and len(found.tokens) > before else None
                ended = bool(found.stop)
                if piece or likely or ended:
                    job.tell(Event(piece, likely, found if ended else None))
        if ended:
            self._running.remove(running)
            with self._changed:
                self._free.append(answer.generator.session)

    def _likely(self, running: _Running) -> Likely:
        logits, session = running.answer.generator.logits, running.answer.generator.session
        chances, token = log_softmax(logits * 2.0**session.logit_exponent), running.answer.found.tokens[-1]
        top = np.argsort(-logits.astype(np.int64), kind="stable")[: running.job.likely]
        return Likely(token, float(chances[token]), tuple((int(one), float(chances[one])) for one in top))
