"""Predicted against simulated cycles, over configurations of model, target, memory and run; a table and its errors.

    python test/bench/prediction.py [--only WORD] [--tasks] [--json FILE] [--write]

`--write` keeps the error so far in the package (`lutllm/cost/calibration.json`), where estimates show it. WORD may be a
regular expression.

Simulated by the arc JIT, integers random; cycles do not depend on them. The depths of FIFOs are those that hide the
target's latency of 64 cycles, whatever the memory of the run; with `sized` those for the run's memory.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lutllm import interpreter, store
from lutllm.accelerator.hardware import PASSES, Hardware, build, copy_of
from lutllm.cost.calibration import error_of, keep
from lutllm.cost.predicted import predicted, run_cycles
from lutllm.lowering import pipelines
from lutllm.lowering.export.image.whole import whole_image
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.lowering.machine.targets import find_target
from lutllm.lowering.schedule.data import Plan
from lutllm.passes import run_pipeline
from lutllm.progress import note
from lutllm.quantized.pretrained import QuantizedModel
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.report.text import align
from lutllm.run.decoder_bench import SHAPES
from lutllm.scheme import ADDITIVE, EXACT, Scheme
from lutllm.simulate import AxiTiming, Simulator
from lutllm.simulate.accelerator import Accelerator
from lutllm.simulate.transactions.passes import run_passes
from lutllm.simulate.transactions.records import TaskRecord, named_records

QWEN3: dict[str, Any] = dict(qk_norm=True, heads=3, kv_heads=1, head_dim=20, hidden=36)
ODD: dict[str, Any] = dict(heads=6, kv_heads=3, head_dim=8, hidden=50, intermediate=34, qk_norm=True, layers=3)
WIDE: dict[str, Any] = dict(hidden=192, intermediate=512, layers=1, heads=6, kv_heads=2, head_dim=32, vocabulary=1000)
SMOLLM2 = SHAPES["smollm2-135m"] | {"layers": 1}
QWEN3_WIDE = SHAPES["qwen3-1.7b"] | {"layers": 1, "vocabulary": 8192}
QUARTER = str(Path(__file__).parent / "quarter.toml")
CONTEXT = 64
SEARCHED = ADDITIVE.with_(table_bits=10)


@dataclass(frozen=True)
class Run:
    """One row of the table: `shape` and `scheme` of the model, `tokens` of a pass at most (0: the target's), memory
    that answers after `latency` cycles, `prompt` tokens in and `made` out."""

    name: str
    shape: dict[str, Any] = field(default_factory=dict, hash=False)
    scheme: Scheme = EXACT
    source: str = ""
    target: str = "tiny"
    tokens: int = 0
    latency: int = 64
    sized: bool = False
    prompt: int = 7
    made: int = 3


def runs() -> list[Run]:
    """Every configuration of the table; those that share hardware follow each other, for it is built once."""
    found = []
    for latency in (1, 64, 200):
        found += [Run("llama", latency=latency, prompt=prompt) for prompt in (1, 16)]
        found += [Run("qwen3", QWEN3, EXACT.with_(R=1), latency=latency, prompt=13)]
        found += [Run("llama, sized", latency=latency, sized=True)]
        found += [Run("wide", WIDE, EXACT.with_(G=128), latency=latency, prompt=prompt) for prompt in (1, 16)]
        for source in ("built_row", "built_table", "stored_table"):
            found.append(Run("searched", {}, SEARCHED, source, latency=latency, prompt=9))
    for tokens in (1, 2, 8, 16):
        found += [Run("llama", tokens=tokens, prompt=21, latency=latency) for latency in (64, 200)]
        found += [Run("searched", {}, SEARCHED, source, tokens=tokens, prompt=21) for source in SEARCHED.row_sources]
    found += [Run("odd", ODD, EXACT.with_(R=3, G=16), prompt=9), Run("searched, wide", WIDE, SEARCHED, prompt=9)]
    for latency in (1, 64, 200):
        found += [Run("llama", target="small", latency=latency, prompt=20)]
        found += [Run("wide", WIDE, target="small", latency=latency, prompt=20)]
    found += [Run("wide", WIDE, EXACT.with_(R=1), target="small", tokens=tokens) for tokens in (1, 4)]
    found += [Run("searched", WIDE, SEARCHED, source, target="small") for source in SEARCHED.row_sources]
    found += [Run("smollm2", SMOLLM2, EXACT.with_(R=1, G=1024), target="small", prompt=8, made=2)]
    wide = EXACT.with_(R=1, G=1024)
    found += [Run("smollm2", SMOLLM2, wide, target=QUARTER, prompt=prompt, made=2) for prompt in (5, 20)]
    found += [Run("qwen3-1.7b", QWEN3_WIDE, wide, target="v80", prompt=prompt, made=2) for prompt in (1, 20)]
    return sorted(found, key=lambda run: (run.target, run.name, run.source, run.scheme.kind, run.tokens, run.sized))


@cache
def _model(shape: tuple[tuple[str, Any], ...], scheme: Scheme, source: str) -> QuantizedModel:
    model = random_model(float_decoder(**dict(shape)), scheme, positions=CONTEXT)
    if source == "stored_table":
        for linear in model.linears.values():
            linear.tables = interpreter.make_tables(linear)
    return model


def scheduled(run: Run) -> Hardware:
    model, engine = _model(tuple(run.shape.items()), run.scheme, run.source), find_target(run.target).engine
    lines = [f'like = "{run.target}"', 'summary = "a row of the table"', "[engine]"]
    if run.tokens:
        words = engine.acc_words * max(1, run.tokens // engine.tokens)
        lines += [f"tokens = {run.tokens}", f"acc_words = {words}"]
    lines += ["[memory]", f"latency = {run.latency}"] if run.sized else []
    lines += ["[sources]", 'engine = "the row"', 'memory = "the row"']
    module = copy_of(model.lut(CONTEXT))
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as target:
        target.write("\n".join(lines))
        target.flush()
        run_pipeline(module, pipelines.to_scheduled(target.name, run.source), passes=PASSES)
    return Hardware(model.lut(CONTEXT), module, model.tensors, whole_image(module, model.tensors))


_built: dict[int, Simulator] = {}


def simulator(config: AcceleratorConfig) -> Simulator:
    if config.identity not in _built:
        _built.clear()  # one is large, and runs come in order
        _built[config.identity] = build(config, "arc")
    return _built[config.identity]


@dataclass
class Compared:
    """What came out: records of tasks, of the simulation and of the prediction, and the cycles of the run."""

    run: Run
    plan: Plan
    simulated: list[TaskRecord]
    predicted: list[TaskRecord]
    cycles: int

    @property
    def estimate(self) -> int:
        return run_cycles(self.predicted)

    @property
    def error(self) -> float:
        return self.estimate / self.cycles - 1


def compared(run: Run) -> Compared:
    hardware = scheduled(run)
    plan = hardware.plan
    timing = AxiTiming(latency=run.latency)
    accelerator = Accelerator(plan.config, simulator(plan.config), hardware.image, timing=timing)
    ids = np.random.default_rng(0).integers(0, plan.vocabulary, run.prompt)
    done = accelerator.generate([int(i) for i in ids], run.made).check()
    passes = run_passes(run.prompt, run.made, plan.config.tokens)
    spans = [(span.engine, span.dispatched, span.done) for span in done.spans]
    simulated = named_records(plan, passes, spans, done.result.cycles - done.cycles)
    return Compared(run, plan, simulated, predicted(plan, passes, run.latency), done.cycles)


def _tasks(found: Compared) -> str:
    """Both records of every task, in order of the simulation."""
    estimates = {(r.turn, r.task): r for r in found.predicted}
    lines = [("turn", "task", "engine", "start", "end", "predicted", "", "start off", "end off")]
    for r in found.simulated:
        p = estimates[r.turn, r.task]
        numbers = (r.start, r.end, p.start, p.end, p.start - r.start, p.end - r.end)
        lines.append((str(r.turn), r.task, r.engine, *map(str, numbers)))
    return align(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="rows whose text this regular expression finds")
    parser.add_argument("--tasks", action="store_true", help="every task of these rows")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--write", action="store_true", help="keep the error in the package")
    options = parser.parse_args()
    head = ("model", "target", "rows", "tokens", "latency", "prompt", "made", "simulated", "predicted", "error")
    lines, errors, entries = [head], [], []
    for run in runs():
        source = run.source or run.scheme.row_sources[-1]
        cells = (
            run.name,
            Path(run.target).stem,
            source,
            str(run.tokens or "-"),
            str(run.latency),
            str(run.prompt),
            str(run.made),
        )
        if not re.search(options.only, " ".join(cells)):
            continue
        found = compared(run)
        errors.append(found.error)
        lines.append((*cells, f"{found.cycles:,}", f"{found.estimate:,}", f"{100 * found.error:+.1f} %"))
        entries.append(dict(zip(head, lines[-1], strict=True)) | {"error": found.error})
        note(" ".join(lines[-1]))
        if options.write:
            keep(cycles=error_of(errors))
        if options.tasks:
            print(_tasks(found))
    print(align(lines))
    error = error_of(errors)
    print(f"error: median {error['median']:.1%}, worst {error['worst']:.1%}, {error['of']} runs")
    if options.json:
        store.write_json(options.json, entries)
    return 0


if __name__ == "__main__":
    sys.exit(main())
