"""A run at transaction level, kept whole: what every task should write, task by task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lutllm.decoder import QuantizedDecoder
from lutllm.diff.elements import Elements
from lutllm.lowering.decoder_spec import DecoderSpec
from lutllm.lowering.image.whole import whole_image
from lutllm.lowering.plan.data import Plan
from lutllm.transactions.passes import Pass
from lutllm.transactions.simulator import TaskResult, TransactionSimulator


@dataclass(eq=False, repr=False)
class Recording:
    """`image` before the run and `memory` after it; `results` in order of execution, those of an engine in its own;
    `sequence` is the prompt and what was made."""

    plan: Plan
    decoder: QuantizedDecoder
    elements: Elements
    image: np.ndarray
    memory: np.ndarray
    prompt: list[int]
    tokens: list[int]
    error: str
    passes: list[Pass]
    results: list[TaskResult]

    @property
    def sequence(self) -> list[int]:
        return self.prompt + self.tokens


def record(plan: Plan, decoder: QuantizedDecoder, prompt: Sequence[int], tokens: int) -> Recording:
    """Run a decoder's own integers, not those of an image that may be wrong."""
    image, results = whole_image(plan, decoder), []

    def listener(result: TaskResult) -> None:
        # What feed gives is in memory x, and twice as large as everything else.
        kept = tuple(written for written in result.written if written.memory != "stream x")
        results.append(replace(result, written=kept))

    simulator = TransactionSimulator.of(plan, decoder, image, listener=listener)
    run = simulator.generate(prompt, tokens)
    elements = Elements(plan, DecoderSpec.of(decoder))
    return Recording(
        plan, decoder, elements, image, simulator.chip.image, list(map(int, prompt)), run.tokens, run.error, run.passes,
        results,
    )  # fmt: skip
