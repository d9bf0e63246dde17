"""What is left of a run that cannot be looked into: its tokens, and what its tasks wrote to memory."""

from __future__ import annotations

import numpy as np

from lutllm.diff.chip_state import EXTERNAL, external
from lutllm.diff.difference import Comparison
from lutllm.diff.elements import difference_in
from lutllm.diff.recording import Recording
from lutllm.simulate.accelerator import Accelerator
from lutllm.simulate.simulator import Simulator


def compare_outcome(recorded: Recording, simulator: Simulator, image: np.ndarray, level: str = "rtl") -> Comparison:
    """Run `image` on any simulator of the plan's accelerator; the difference named is that of the first task."""
    accelerator = Accelerator(recorded.plan.config, simulator, image)
    recorded.begin(accelerator)
    run, memory = accelerator.wait(len(recorded.prompt)), accelerator.memory.data
    found = Comparison(("transaction", level), cycles=run.cycles)
    if run.error != recorded.error:
        found.stopped = f"expected error '{recorded.error}', got '{run.error}' after {run.cycles} cycles"
    elif run.tokens != recorded.tokens:
        found.stopped = f"expected tokens {recorded.tokens}, got {run.tokens}"
    for result in recorded.results:
        kept = [written for written in result.written if written.memory in EXTERNAL]
        found.steps += bool(kept)
        found.numbers += sum(written.values.size for written in kept)
        parts = [(written, written.values, external(memory, written)) for written in kept]
        found.difference = difference_in(recorded.plan, result, parts)
        if found.difference is not None:
            return found
    stray = recorded.places((recorded.memory != memory) & (recorded.image == image))
    if stray and not found.stopped:
        found.stopped = f"expected only the plan's tasks to write to memory, got others in {stray}"
    return found
