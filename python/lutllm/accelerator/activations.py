"""Programs without tokens on their accelerator: inputs of linears in, outputs beside the golden model's out.

In: a scheduled module whose @prefill loads its arguments and saves its results. A pass of T tokens lies in memory word
after word, each word with its T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lutllm import interpreter
from lutllm.bindings import ir
from lutllm.errors import InputError
from lutllm.lowering.machine.accelerator import SAVE_BITS, X_BITS, AcceleratorConfig
from lutllm.lowering.place.clusters import Cluster, clusters_of
from lutllm.lowering.place.layouts import Layout
from lutllm.lowering.schedule.data import Plan
from lutllm.lowering.schedule.read import Reader, read_plan
from lutllm.simulate.accelerator import Accelerator, AcceleratorRun
from lutllm.simulate.axi_port import AxiTiming
from lutllm.simulate.simulator import Simulator
from lutllm.simulate.transactions.passes import prompt_passes
from lutllm.simulate.transactions.records import TaskRecord, named_records

PROGRAM = "prefill"


@dataclass(frozen=True)
class Mismatch:
    """The first differing result of a cluster: `element` is (token, output), `cycle` when it was written."""

    op: str
    label: str
    row_source: str
    element: tuple[int, int]
    cycle: int | None
    expected: int
    got: int
    count: int

    def __str__(self) -> str:
        when = "never written" if self.cycle is None else f"written at cycle {self.cycle}"
        return (
            f"'{self.op}' of {self.label} ({self.row_source}): element [{self.element[0]}, {self.element[1]}], "
            f"{when}: expected {self.expected}, got {self.got}; {self.count} elements differ"
        )


@dataclass(frozen=True)
class _End:
    """An argument or a result: the cluster that moves it, its layout, where it lies."""

    cluster: Cluster
    layout: Layout
    address: int


@dataclass
class Computed:
    """What hardware made: `outputs` int64 [tokens, outputs] by label, in order, and `golden` beside them."""

    outputs: dict[str, np.ndarray]
    golden: dict[str, np.ndarray]
    mismatches: list[Mismatch]
    records: list[TaskRecord]
    run: AcceleratorRun

    @property
    def equal(self) -> bool:
        return not self.mismatches

    def cycles(self) -> dict[str, int]:
        """Cycles by result, adding up to the whole run: from the last word of the one before to its own last word, pass
        by pass. The first also starts up."""
        found: dict[str, int] = dict.fromkeys(self.outputs, 0)
        ends: dict[tuple[int, str], int] = {}
        for record in self.records:
            if record.engine == "save":
                key = record.turn, record.cluster
                ends[key] = max(ends.get(key, 0), record.end)
        before = 0
        for (_, label), end in sorted(ends.items(), key=lambda item: item[1]):
            found[label] += end - before
            before = end
        last = max(ends.items(), key=lambda item: item[1])[0][1]
        found[last] += self.run.cycles - before
        return found


class Activations:
    """A scheduled module, its plan, the arrays it names and its image."""

    def __init__(self, module: ir.Module, tensors: Mapping[str, np.ndarray], image: np.ndarray) -> None:
        self.module, self.tensors, self.image = module, tensors, image
        self.plan: Plan = read_plan(module)
        reader = Reader(module.operation)
        if PROGRAM not in reader.functions:
            raise InputError(f"expected a function @{PROGRAM} without tokens, got none; extract linears")
        function = reader.functions[PROGRAM]
        ends = [_end(reader, cluster) for cluster in clusters_of(function)]
        self.inputs = {_argument(e.cluster): e for e in ends if e is not None and e.cluster.last == "load"}
        results = list(function.entry_block.operations)[-1].operation.operands
        self.outputs = [_end(reader, Cluster(value.owner.opview)) for value in results]
        if len(self.inputs) != len(function.arguments) or None in self.outputs:
            raise InputError("expected arguments that are loaded and results that are saved, got others")

    def inputs_image(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """The image with `inputs` [tokens, channels], one an argument, in it."""
        image, config = self.image.copy(), self.plan.config
        for i, end in self.inputs.items():
            if len(inputs[i]) > config.context:
                raise InputError(f"expected at most {config.context} tokens, the context, got {len(inputs[i])}")
            data = _passes(end.layout.place(np.asarray(inputs[i])), config, X_BITS)
            image[end.address : end.address + data.size] = data
        return image

    def run(self, simulator: Simulator, inputs: Sequence[np.ndarray], **options: Any) -> Computed:
        """Compute on hardware and on the reference interpreter; `options` are those of `TestBench`. Memory answers as
        the machine says, if no timing is among them."""
        return self.run_image(simulator, self.inputs_image(inputs), len(inputs[0]), self.golden(inputs), **options)

    def golden(self, inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """The reference interpreter's results by label."""
        values = interpreter.run(self.module, [np.asarray(x) for x in inputs], self.tensors, function=PROGRAM)
        return {end.cluster.label: value for end, value in zip(self._ends(), values, strict=True)}

    def run_image(
        self, simulator: Simulator, image: np.ndarray, tokens: int, golden: Mapping[str, np.ndarray], **options: Any
    ) -> Computed:
        """Like `run`, from an image with inputs."""
        if image.size != self.plan.memory_bytes:
            raise InputError(
                f"expected an image of {self.plan.memory_bytes} bytes as the memory map says, got {image.size}; "
                "make it again from this module"
            )
        options = {"timing": AxiTiming(latency=self.plan.latency)} | options
        accelerator = Accelerator(self.plan.config, simulator, image, **options)
        run = accelerator.start(tokens, 0).check()
        outputs = self.results(accelerator.memory.data, tokens)
        passes = list(prompt_passes(0, tokens, self.plan.config.tokens))
        spans = [(span.engine, span.dispatched, span.done) for span in run.spans]
        records = named_records(self.plan, passes, spans, run.result.cycles - run.cycles)
        wrong = [m for end in self._ends() if (m := self._mismatch(end, outputs, golden, run))]
        return Computed(outputs, dict(golden), wrong, records, run)

    def results(self, memory: np.ndarray, tokens: int) -> dict[str, np.ndarray]:
        """What a run of so many tokens left in memory, by label."""
        return {end.cluster.label: self._output(memory, end, tokens) for end in self._ends()}

    def _ends(self) -> list[_End]:
        return [end for end in self.outputs if end is not None]

    def _output(self, memory: np.ndarray, end: _End, tokens: int) -> np.ndarray:
        size, config = end.layout.size, self.plan.config
        values = memory[end.address :][: tokens * size * SAVE_BITS // 8].view("<i4").astype(np.int64)
        found = []
        for first in range(0, tokens, config.tokens):
            part = values[first * size : (first + config.tokens) * size]
            count = part.size // size
            found.append(part.reshape(-1, count, config.lanes).transpose(1, 0, 2).reshape(count, -1))
        return end.layout.pick(np.concatenate(found))

    def _mismatch(
        self, end: _End, outputs: Mapping[str, np.ndarray], golden: Mapping[str, np.ndarray], run: AcceleratorRun
    ) -> Mismatch | None:
        label, linear = end.cluster.label, end.cluster.linear
        got, expected = outputs[label], np.asarray(golden[label])
        if expected.shape != got.shape:
            raise InputError(
                f"{label}: expected golden results of shape {list(got.shape)}, got {list(expected.shape)}; "
                "compute them from the same inputs"
            )
        wrong = np.argwhere(expected != got)
        if not len(wrong):
            return None
        token, channel = (int(i) for i in wrong[0])
        values = int(expected[token, channel]), int(got[token, channel])
        cycle = run.result.write_cycle(self._address(end, token, channel, len(got)))
        op = end.cluster.ops[-1].operation.name
        source = "" if linear is None else linear.row_source
        return Mismatch(op, label, source, (token, channel), cycle, *values, len(wrong))

    def _address(self, end: _End, token: int, channel: int, tokens: int) -> int:
        """The byte of one result."""
        config = self.plan.config
        place = int(np.argmax(end.layout.places == channel))
        first = token // config.tokens * config.tokens
        count = min(config.tokens, tokens - first)
        word = place // config.lanes * count + token - first
        return end.address + (first * end.layout.size + word * config.lanes + place % config.lanes) * SAVE_BITS // 8


def _end(reader: Reader, cluster: Cluster) -> _End | None:
    if cluster.last not in ("load", "save"):
        return None
    region = reader.regions[cluster.symbol("region") or ""]
    return _End(cluster, reader.layouts[cluster.symbol("layout") or ""], region.address)


def _argument(cluster: Cluster) -> int:
    return int(ir.BlockArgument(cluster.yielded).arg_number)


def _passes(values: np.ndarray, config: AcceleratorConfig, bits: int) -> np.ndarray:
    """Places [tokens, places] as they lie in memory: pass after pass, in each word after word."""
    parts = []
    for first in range(0, len(values), config.tokens):
        part = values[first : first + config.tokens]
        parts.append(part.reshape(len(part), -1, config.lanes).transpose(1, 0, 2).reshape(-1))
    return np.concatenate(parts).astype(f"<i{bits // 8}").view(np.uint8)
