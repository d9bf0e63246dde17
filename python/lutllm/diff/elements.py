"""Which numbers of the model hardware's words hold: what a task wrote in, tokens and channels as PyTorch counts out."""

from __future__ import annotations

import numpy as np

from lutllm.lowering.accelerator import HEAD_MODES
from lutllm.lowering.decoder_spec import DecoderSpec
from lutllm.lowering.layout.channels import PAD, heads_layout
from lutllm.lowering.layout.decoder import layout_decoder
from lutllm.lowering.plan.data import Plan, Task
from lutllm.transactions.chip import Written
from lutllm.transactions.passes import Pass

_SIMPLE = {"attention": "lut.attention", "swiglu": "lut.swiglu", "pick": "lut.argmax", "embed": "lut.embedding"}


def op_of(task: Task) -> str:
    """The op of the `lut` program whose result a task writes. A norm and the rescale after it are one task, and so are
    what stands between a linear and attention."""
    if task.engine == "residual":
        return "lut.embedding" if task.fields["load"] else "lut.add"
    if task.engine in ("norm", "heads"):
        return "lut.rescale"
    return _SIMPLE.get(task.engine, "lut.linear")


def ops_of(task: Task) -> str:
    """All ops that a task does, as text."""
    if task.engine == "norm":
        return "lut.rms_norm + lut.rescale"
    if task.engine != "heads":
        return op_of(task)
    if HEAD_MODES[task.fields["mode"]] == "rotations":
        return "lut.rope"
    steps = {"lut.rms_norm": task.fields["norm"], "lut.rope": task.fields["rotate"], "lut.rescale": 1}
    return " + ".join(op for op, done in steps.items() if done)


class Elements:
    """`of` a task's words: the token of each word, from the start of the sequence, and the channel of each lane; PAD
    where there is none."""

    def __init__(self, plan: Plan, spec: DecoderSpec) -> None:
        self.plan, self.layout = plan, layout_decoder(spec, plan.config)
        layout, found = self.layout, dict(self.layout.outputs)
        for norm in spec.decoder.norms:
            found[norm.name] = layout.residual
        for layer in spec.decoder.layers:
            a = layer.attention
            found[layer.down.rpartition(".")[0]] = layout.outputs[layer.gate]  # of engine swiglu
            found[a.name] = layout.inputs[a.output]
        found[spec.decoder.embedding] = layout.residual
        self.channels = {name: _once(each.channels) for name, each in found.items()}

    def of(self, task: Task, run: Pass, written: Written) -> tuple[np.ndarray, np.ndarray]:
        """(tokens [n], channels [n, lanes]) of `written`, which `task` wrote in `run`."""
        tokens, channels = self._local(task, run, written)
        return (run.position - 1 if run.program == "head" else run.position) + tokens, channels

    def _local(self, task: Task, run: Pass, written: Written) -> tuple[np.ndarray, np.ndarray]:
        count, lanes = written.values.shape
        if written.memory in ("squares", "token"):
            return written.addresses, np.full((count, lanes), PAD)
        each = 1 if run.program == "head" else run.tokens
        if task.engine == "heads":
            row, beat = np.divmod(np.arange(count), self._head_size(task) // lanes)
            head, token = np.divmod(row, each)
            place = head * self._head_size(task) + beat * lanes
            channels = heads_layout(task.fields["heads"], self._head(task)).channels
            return token, channels[place[:, None] + np.arange(lanes)]
        word, token = np.divmod(np.arange(count), each)
        place = (word + self._first(task)) * lanes
        return token, self._row(task)[place[:, None] + np.arange(lanes)]

    def _head(self, task: Task) -> np.ndarray:
        return self.layout.value_head if HEAD_MODES[task.fields["mode"]] == "value" else self.layout.head

    def _head_size(self, task: Task) -> int:
        return len(self._head(task))

    def _first(self, task: Task) -> int:
        """The first word of the row that a task writes."""
        if task.engine in ("linear", "store"):
            return self.plan.rounds[task.round].output_offset // self.plan.config.lanes
        return task.fields.get("start", 0)

    def _row(self, task: Task) -> np.ndarray:
        """Channels of a whole row of what a task writes."""
        return self.channels[task.source]


def _once(channels: np.ndarray) -> np.ndarray:
    """Channels without the repeated ones that pad logits."""
    again = np.concatenate([[False], channels[1:] == channels[:-1]])
    return np.where(again, PAD, channels)
