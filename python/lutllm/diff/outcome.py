"""What is left of a run that cannot be looked into: its tokens and KV caches beside those that should be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lutllm.diff.difference import Comparison, Difference
from lutllm.diff.recording import Recording
from lutllm.lowering.layout.channels import PAD, heads_layout
from lutllm.simulate.accelerator import Accelerator
from lutllm.simulate.simulator import Simulator


def compare_outcome(recorded: Recording, simulator: Simulator, image: np.ndarray, level: str = "rtl") -> Comparison:
    """Run `image` on any simulator of the plan's accelerator; the difference named is that of the earliest token."""
    accelerator = Accelerator(recorded.plan.config, simulator, image)
    run = accelerator.generate(recorded.prompt, len(recorded.tokens))
    found = Comparison(("transaction", level), cycles=run.cycles)
    if run.error != recorded.error:
        found.stopped = f"expected error '{recorded.error}', got '{run.error}' after {run.cycles} cycles"
    elif run.tokens != recorded.tokens:
        found.stopped = f"expected tokens {recorded.tokens}, got {run.tokens}"
    wrong: list[tuple[int, int, Difference]] = []
    for number, (name, module, want, got, channels) in enumerate(_caches(recorded, accelerator.memory.data)):
        found.steps, found.numbers = found.steps + 1, found.numbers + want.size
        different = (want != got).any(axis=(0, 2))
        if different.any():
            position = int(np.argmax(different))
            wrong.append((position, number, _difference(recorded, name, module, want, got, channels, position)))
    if wrong:
        found.difference = min(wrong, key=lambda entry: entry[:2])[2]
    return found


def _caches(recorded: Recording, memory: np.ndarray) -> Iterator[tuple[str, str, np.ndarray, np.ndarray, np.ndarray]]:
    """Of each cache region its name, its PyTorch module, what it should hold and what it holds [heads, position,
    channel], and the channels as PyTorch counts them."""
    plan, layout = recorded.plan, recorded.elements.layout
    for a in (layer.attention for layer in recorded.decoder.decoder.layers):
        for part, module, head in (("k", a.key, layout.head), ("v", a.value, layout.value_head)):
            region = plan.regions[f"{a.name}.{part}"]
            place = slice(region.address, region.address + a.kv_heads * plan.context * len(head))
            shape = a.kv_heads, plan.context, len(head)
            want, got = (data[place].view(np.int8).reshape(shape) for data in (recorded.memory, memory))
            yield region.name, module, want, got, heads_layout(a.kv_heads, head).channels


def _difference(
    recorded: Recording, name: str, module: str, want: np.ndarray, got: np.ndarray, channels: np.ndarray, position: int
) -> Difference:
    heads, _, size = want.shape
    wrong = want[:, position] != got[:, position]
    head, lane = (int(i) for i in np.argwhere(wrong)[0])
    channel = int(channels[head * size + lane])
    turns = enumerate(recorded.passes)
    readers = [(i, p) for i, p in turns if p.program != "head" and p.position <= position < p.position + p.tokens]
    turn, run = readers[0] if readers else (len(recorded.passes) - 1, recorded.passes[-1])
    region = recorded.plan.regions[name]
    return Difference(
        op="lut.append", module=module, task=name, engine="heads", turn=turn, program=run.program,
        position=run.position, tokens=run.tokens, token=position, channel=None if channel == PAD else channel,
        memory="kv", address=region.address + (head * want.shape[1] + position) * size, lane=lane,
        expected=int(want[head, position, lane]), got=int(got[head, position, lane]), count=int(wrong.sum()),
        of=heads * size,
    )  # fmt: skip
