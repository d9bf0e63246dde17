"""`lutllm bench MODEL`: token/s of a quantized decoder on this processor, as llama-bench measures them.

`pp128` reads 128 random tokens into an empty context, `tg32` makes 32 tokens one by one from an empty context, and
`tg32 x4` 32 of each of four sequences at once; each is run once before it is timed, and repetitions take turns. Making
the machine code is timed apart.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from lutllm.errors import InputError
from lutllm.quantized.pretrained import QuantizedModel
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.run.session import CpuSession
from lutllm.scheme import Scheme

# Shapes of models, for a model with random integers where no weights are at hand.
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {},
    "smollm2-135m": {
        "hidden": 576,
        "intermediate": 1536,
        "layers": 30,
        "heads": 9,
        "kv_heads": 3,
        "head_dim": 64,
        "vocabulary": 49152,
    },
    "qwen3-1.7b": {
        "hidden": 2048,
        "intermediate": 6144,
        "layers": 28,
        "heads": 16,
        "kv_heads": 8,
        "head_dim": 128,
        "vocabulary": 151936,
        "qk_norm": True,
    },
}


@dataclass(frozen=True)
class Speed:
    """One row: the token/s of each repetition."""

    test: str
    threads: int
    samples: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.mean(self.samples)

    @property
    def deviation(self) -> float:
        """Of the samples; 0 where there is one."""
        return statistics.stdev(self.samples) if len(self.samples) > 1 else 0.0

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "mean": self.mean, "deviation": self.deviation}


@dataclass(frozen=True)
class Report:
    """`bytes` are what the program reads parameters from: packed codes, codebooks, embedding. `bits` as in
    `QuantizedModel.bits`. `seconds`: lowering, compiling and packing by number of threads."""

    model: str
    level: str
    bytes: int
    bits: dict[str, float]
    seconds: dict[int, dict[str, float]]
    rows: tuple[Speed, ...]

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "rows": [row.to_dict() for row in self.rows]}

    def __str__(self) -> str:
        lines = [f"{'model':20} {'size':>10} {'bits/weight':>11} {'cpu':>8} {'threads':>7} {'test':>8} {'token/s':>17}"]
        lines += [
            f"{self.model[:20]:20} {self.bytes / 2**20:6.1f} MiB {self.bits['effective']:11.2f} {self.level:>8} "
            f"{row.threads:7} {row.test:>8} {row.mean:8.2f} +- {row.deviation:5.2f}"
            for row in self.rows
        ]
        lines += [
            f"{threads} thread{'s' * (threads > 1)}: machine code made in {sum(parts.values()):.1f} s ("
            + ", ".join(f"{name} {value:.1f}" for name, value in parts.items())
            + ")"
            for threads, parts in self.seconds.items()
        ]
        return "\n".join(lines)


def bench(
    model: QuantizedModel,
    name: str,
    *,
    prompt: int = 128,
    tokens: int = 32,
    repetitions: int = 5,
    threads: Sequence[int] = (1,),
    sequences: Sequence[int] = (1,),
    seed: int = 0,
) -> Report:
    """Speeds of `model`: reading `prompt` tokens and making `tokens`, of each number of `sequences`; 0 tokens leave one
    out."""
    most = max(prompt, tokens)
    if not 0 < most <= model.positions or min(prompt, tokens) < 0 or repetitions < 1:
        raise InputError(
            f"expected a prompt or tokens to time, up to the model's {model.positions} positions, and at least 1 "
            f"repetition, got {prompt}, {tokens} and {repetitions}"
        )
    rows, seconds = [], {}
    for count in threads:
        session = CpuSession.of(model, most, threads=count, keep=False)
        seconds[count] = dict(session.program.seconds)
        runs = tests(session, prompt, tokens, seed, sequences)
        turns = [[run() for run in runs.values()] for _ in range(1 + repetitions)]
        rows += [Speed(test, count, each[1:]) for test, each in zip(runs, zip(*turns, strict=True), strict=True)]
        level, size = session.program.level, session.program.bytes["parameters"]
    return Report(name, level, size, model.bits, seconds, tuple(rows))


def tests(
    session: CpuSession, prompt: int, tokens: int, seed: int = 0, sequences: Sequence[int] = (1,)
) -> dict[str, Callable[[], float]]:
    """By name, functions that run a test once and give its token/s, of all sequences together."""
    ids = np.random.default_rng(seed).integers(0, session.vocabulary, max(prompt, tokens))
    several = [session, *(session.another() for _ in range(max(sequences) - 1))]

    def make(count: int) -> None:
        for token in ids[:tokens].tolist():
            session.forward_each(several[:count], [token] * count)

    def timed(run: Callable[[], object], count: int) -> float:
        for one in several:
            one.reset()
        start = time.perf_counter()
        run()
        return count / (time.perf_counter() - start)

    found = {f"pp{prompt}": lambda: timed(lambda: session.forward(ids[:prompt]), prompt)} if prompt else {}
    for count in sequences if tokens else ():
        name = f"tg{tokens}" + (f" x{count}" if count > 1 else "")
        found[name] = partial(timed, partial(make, count), tokens * count)
    return found


def random_like(shape: str, scheme: Scheme, *, positions: int = 512, seed: int = 0) -> QuantizedModel:
    """A model of one of `SHAPES` with random integers: right in size and speed, meaningless in text."""
    if shape not in SHAPES:
        raise InputError(f"expected a shape among {', '.join(SHAPES)}, got '{shape}'")
    return random_model(float_decoder(**SHAPES[shape]), scheme, seed, positions=positions)
