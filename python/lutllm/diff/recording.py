"""A run at transaction level, kept whole: what every task should write, task by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lutllm.bindings import ir
from lutllm.lowering.export.image.whole import whole_image
from lutllm.lowering.schedule.data import Plan
from lutllm.simulate.accelerator import Accelerator
from lutllm.simulate.transactions.passes import Pass
from lutllm.simulate.transactions.simulator import TaskResult, TransactionSimulator


@dataclass(eq=False, repr=False)
class Recording:
    """A scheduled module, the arrays it names, and what became of a prompt.

    `image` before the run and `memory` after it; `results` in order of execution, those of an engine in its own;
    `sequence` is the prompt and what was made.
    """

    module: ir.Module
    tensors: Mapping[str, np.ndarray]
    plan: Plan
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

    def begin(self, accelerator: Accelerator) -> None:
        """Start this run on hardware."""
        if self.plan.config.has_sequence:
            accelerator.host.prompt(self.prompt)
        accelerator.host.begin(len(self.prompt), len(self.tokens))

    def places(self, wrong: np.ndarray) -> str:
        """Which bytes of an image are marked, as text; nothing where none is."""
        if not wrong.any():
            return ""
        at = int(np.argmax(wrong))
        regions = (r.name for r in self.plan.regions.values() if r.address <= at < r.address + r.size)
        return f"{int(wrong.sum())} bytes, the first at address {at:#x} in region {next(regions, 'none')}"


def record(
    module: ir.Module,
    tensors: Mapping[str, np.ndarray],
    prompt: Sequence[int],
    tokens: int,
    *,
    inputs: np.ndarray | None = None,
) -> Recording:
    """Run a model's own integers, not those of an image that may be wrong.

    Of the image `inputs` only what the model reads from outside is taken; without engine load there is nothing. A
    module without head takes as many zeros for a `prompt` as it reads tokens.
    """
    image, results = whole_image(module, tensors), []

    def listener(result: TaskResult) -> None:
        # What feed gives is in memory x, and twice as large as everything else.
        kept = tuple(written for written in result.written if written.memory != "stream x")
        results.append(replace(result, written=kept))

    simulator = TransactionSimulator.of(module, tensors, image, listener=listener)
    if inputs is not None:
        for region in simulator.plan.regions_of("x"):
            place = slice(region.address, region.address + region.size)
            simulator.chip.image[place] = image[place] = inputs[place]
    run = simulator.generate(prompt, tokens)
    return Recording(
        module, tensors, simulator.plan, image, simulator.chip.image, list(map(int, prompt)), run.tokens, run.error,
        run.passes, results,
    )  # fmt: skip
