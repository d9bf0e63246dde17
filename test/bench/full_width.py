"""Decoder layers and the LM head at a target's full width in simulation: integers beside the golden model's, cycles.

    python test/bench/full_width.py [--target v80] [--layers 1] [--kv 32,256,1024] [--prefill 128] [--json FILE]

Random integers in the shape of a model. For each KV one token is read behind as many that the CPU path has read, whose
keys and values are written to memory, and one is made; then a prompt of `--prefill` tokens is read. Every word that a
task writes is compared with the transaction-level simulator's, whose token, keys and values are compared with those of
the CPU path; cycles with the prediction.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lutllm import store
from lutllm.accelerator.hardware import Hardware, build
from lutllm.cost.predicted import predicted, run_cycles
from lutllm.diff.hardware import compare_hardware
from lutllm.diff.recording import Recording
from lutllm.lowering.machine.accelerator import HEAD_MODES
from lutllm.lowering.schedule.read import Reader
from lutllm.progress import note
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.report.text import align
from lutllm.run.decoder_bench import SHAPES
from lutllm.run.session import CpuSession
from lutllm.scheme import EXACT
from lutllm.simulate.accelerator import Accelerator
from lutllm.simulate.transactions.functions import Job, append_rows
from lutllm.simulate.transactions.passes import run_passes
from lutllm.simulate.transactions.simulator import TaskResult, TransactionSimulator

HEAD = ("KV", "tokens", "tasks", "numbers", "simulated", "predicted", "ratio", "cycles/s", "equal")


@dataclass(eq=False, repr=False)
class Behind(Recording):
    """A run that begins behind `position` tokens whose keys and values are in memory."""

    position: int = 0
    accelerator: Accelerator | None = None

    def begin(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        accelerator.host.sequence = self.prompt[: self.position]
        accelerator.host.prompt(self.prompt[self.position :], self.position)
        accelerator.host.begin(len(self.prompt), len(self.tokens), position=self.position)


class Bench:
    def __init__(self, options: argparse.Namespace) -> None:
        context = max([*options.kv, options.prefill]) + 64
        shape = SHAPES[options.shape] | {"layers": options.layers}
        scheme = EXACT.with_(R=options.stages, G=1024)
        model = random_model(float_decoder(**shape), scheme, positions=context)
        hardware = Hardware.of(model.lut(context), model.tensors, target=options.target)
        self.module, self.tensors, self.plan = hardware.module, hardware.tensors, hardware.plan
        note(f"memory image {self.plan.memory_bytes / 1e6:.1f} MB")
        self.done: list[TaskResult] = []
        self.machine = TransactionSimulator.of(
            self.module, self.tensors, hardware.image, listener=lambda result: self.done.append(_kept(result))
        )
        self.session = CpuSession(hardware.program, self.tensors)
        start = time.process_time()
        self.simulator = build(self.plan.config, options.simulator)
        note(f"simulator built in {time.process_time() - start:.0f} s of this processor")
        self.ids = [int(i) for i in np.random.default_rng(0).integers(0, self.plan.vocabulary, context)]

    def run(self, kv: int, tokens: int) -> dict[str, Any]:
        """Read `tokens` behind `kv`, make one: a row of the table."""
        machine, prompt = self.machine, self.ids[: kv + tokens]
        if kv:
            self.session.forward(prompt[self.session.seek(prompt) : kv])
            self.append(0, kv)
        image = machine.chip.image.copy()
        self.done.clear()
        machine.sequence = prompt[:kv]
        made = machine.generate(prompt[kv:], 1, position=kv)
        logits = self.session.forward(prompt[self.session.seek(prompt) :])
        regions = [
            machine.chip.image[r.address : r.address + r.size] for kind in "kv" for r in self.plan.regions_of(kind)
        ]
        before = [region.copy() for region in regions]
        assert before
        self.append(kv, tokens)
        golden = made.tokens == [int(logits[-1].argmax())] and all(map(np.array_equal, before, regions))
        recorded = Behind(
            self.module, self.tensors, self.plan, image, machine.chip.image, prompt, made.tokens, made.error,
            made.passes, self.done, kv,
        )  # fmt: skip
        start = time.process_time()
        found = compare_hardware(recorded, self.simulator, image)
        seconds = time.process_time() - start
        note(str(found))
        assert recorded.accelerator is not None and found.cycles is not None
        cycles = recorded.accelerator.host.outcome(len(prompt)).cycles
        estimate = run_cycles(predicted(self.plan, run_passes(kv + tokens, 1, self.plan.config.tokens, kv)))
        rate, equal = found.cycles / seconds, golden and found.equal
        row = (kv, tokens, found.steps, found.numbers, cycles, estimate, estimate / cycles, rate, equal)
        return dict(zip(HEAD, row, strict=True))

    def append(self, first: int, tokens: int) -> None:
        """The session's keys and values of `tokens` tokens from `first` on, to where hardware has them."""
        reader = Reader(self.module.operation)
        numbers = {region: i for i, region in reader.places(reader.functions["prefill"]).region_of.items()}
        for task in self.plan.program("prefill"):
            if task.engine != "heads" or HEAD_MODES[task.fields["mode"]] not in ("key", "value"):
                continue
            (cache,) = [self.session._state[numbers[name] - 2] for name in task.writes if name in numbers]
            layout = self.plan.works["prefill", task.cluster].layout
            rows = layout.place(cache[first : first + tokens].reshape(tokens, -1).astype(np.int64))
            rows = rows.reshape(tokens, task.fields["heads"], -1).transpose(1, 0, 2)
            append_rows(self.machine.chip, Job(task, tokens, first), rows)


def _kept(result: TaskResult) -> TaskResult:
    return replace(result, written=tuple(w for w in result.written if not w.memory.startswith("stream")))


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(f"{v:.4f}" if k == "ratio" else f"{v:,.0f}" if k != "equal" else str(v) for k, v in row.items())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="v80")
    parser.add_argument("--shape", choices=SHAPES, default="qwen3-1.7b")
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--stages", type=int, default=1)
    parser.add_argument("--kv", type=lambda text: [int(n) for n in text.split(",") if n], default=[32, 256, 1024])
    parser.add_argument("--prefill", type=int, default=128, help="tokens of a prompt (128; 0: none)")
    parser.add_argument("--simulator", default="arc", help="arc or verilator")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    bench, rows = Bench(options), []
    for kv, tokens in [(kv, 1) for kv in sorted(options.kv)] + [(0, options.prefill)] * bool(options.prefill):
        rows.append(bench.run(kv, tokens))
        note(" ".join(_cells(rows[-1])))
    print(align([HEAD, *map(_cells, rows)]))
    if options.json:
        store.write_json(options.json, rows)
    return 0 if all(row["equal"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
