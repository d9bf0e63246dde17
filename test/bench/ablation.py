"""What each idea of the quantizer is worth: one row a method, with effective bits, perplexity over the float model's
and seconds; then one row an idea, product or not, with its cost on a few layers (see `ablation_ideas`).

    python test/bench/ablation.py -o DIR [--rows PATTERN;...] [--windows 40] [--layers 2,14,27] [--json FILE]

The LM head is quantized too, as exact rows unless a row says otherwise; embedding, norms and attention stay float and
tables are not rounded (that step is `lutllm eval`'s). Linears are kept in DIR: an interrupted run goes on, and rows
that differ in distillation only share them. Text: `default_corpus`; 512-token windows of documents held apart, of which
methods were chosen on the first 8.
"""

import argparse
import fnmatch
import functools
import hashlib
import json
import sys
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ablation_ideas import IDEAS, KINDS, measure, record_inputs

from lutllm import store
from lutllm.models import load
from lutllm.models.corpus import default_corpus
from lutllm.models.text import evaluation_windows, windows
from lutllm.quantizer import VectorQuantizer, quantize
from lutllm.quantizer.allocation import allocate, effective_bits, measure_costs
from lutllm.quantizer.budget import CHOICES
from lutllm.quantizer.observe.distillation import distill
from lutllm.quantizer.observe.recording import linears
from lutllm.quantizer.observe.sensitivity import curvatures
from lutllm.quantizer.observe.simulated import perplexity, simulated
from lutllm.quantizer.recipe import HEAD, even_block
from lutllm.scheme import ADDITIVE, EXACT, PAPER, QuantizedLinear, Scheme

CHOOSING = 8  # windows that methods were chosen on


@dataclass(frozen=True)
class Row:
    """A method. `head`: of the LM head, where quantized activations have another. `bits`: a budget instead of the
    scheme's own stages, over `choices` (stages, entries)."""

    scheme: Scheme
    head: Scheme = EXACT
    quantizer: dict = field(default_factory=dict)
    importance: bool = True
    sequential: bool = True
    distillation: int = 64
    bits: float | None = None
    choices: tuple = CHOICES


BARE: dict[str, Any] = {"importance": False, "sequential": False, "distillation": 0}
ONE, TWO = EXACT.with_(R=1), EXACT
SIXTY_FOUR = PAPER.with_(R=2)
L2 = {"metric": "l2"}
ROWS = {
    "exact R=1: k-means of each pair": Row(ONE, {"feedback": False}, **BARE),
    "  + error feedback": Row(ONE, {"refits": 0}, **BARE),
    "  + refits": Row(ONE, **BARE),
    "  + importance of outputs": Row(ONE, sequential=False, distillation=0),
    "  + sequential": Row(ONE, distillation=0),
    "  + distillation": Row(ONE),
    "exact R=2, without distillation": Row(TWO, distillation=0),
    "exact R=2": Row(TWO),
    "exact 3.3 bits, R=1 or 2, without distillation": Row(EXACT, distillation=0, bits=3.3, choices=((1, 16), (2, 16))),
    "exact 3.3 bits, without distillation": Row(EXACT, distillation=0, bits=3.3),
    "exact 3.3 bits": Row(EXACT, bits=3.3),
    "additive 16+16, R=2: L2, not sequential, without distillation": Row(
        ADDITIVE.with_(**L2), sequential=False, distillation=0
    ),
    "additive 16+16, R=2: L2, without distillation": Row(ADDITIVE.with_(**L2), distillation=0),
    "additive 16+16, R=2: L2, 32 steps of distillation": Row(ADDITIVE.with_(**L2), distillation=32),
    "additive 16+16, R=2: L2, 192 steps of distillation": Row(ADDITIVE.with_(**L2), distillation=192),
    "additive 16+16, R=2, without distillation": Row(ADDITIVE, distillation=0),
    "additive 16+16, R=2, LM head too, without distillation": Row(ADDITIVE, head=ADDITIVE, distillation=0),
    "additive 16+16, R=2": Row(ADDITIVE),
    "c_a 64, R=2, without distillation": Row(SIXTY_FOUR, distillation=0),
    "c_a 64, R=2": Row(SIXTY_FOUR),
    "paper, R=1, blocks of 512, without distillation": Row(PAPER, distillation=0),
    "paper, R=1, blocks of 512": Row(PAPER),
}


class Bench:
    def __init__(self, model: str, directory: Path, tokens: int, held: int, seed: int, progress: bool) -> None:
        self.model, self.directory, self.tokens, self.seed = load(model), directory, tokens, seed
        self.progress = progress
        self.module, self.text = self.model.module, default_corpus()
        self.names = [*linears(self.module), HEAD]
        self.shapes = {name: tuple(self.module.get_submodule(name).weight.shape) for name in self.names}
        self.held = evaluation_windows(self.model.tokenizer, self.text, 512, held, seed)
        self.some = windows(self.model.tokenizer, self.text.split()[0], 512, 16, seed)
        directory.mkdir(parents=True, exist_ok=True)

    @functools.cached_property
    def reference(self) -> list[float]:
        return self.perplexities(self.module)

    def perplexities(self, module) -> list[float]:
        """Over the windows methods were chosen on, and over the others."""
        parts = (self.held[:CHOOSING], self.held[CHOOSING:])
        return [perplexity(module, part) for part in parts if len(part)]

    def importance(self) -> dict[str, np.ndarray]:
        kept = self.directory / "importance.safetensors"
        if not kept.exists():
            store.save(kept, curvatures(self.module, self.names, self.some))
        return dict(store.load(kept))

    def schemes(self, row: Row) -> dict[str, Scheme]:
        def blocks(scheme: Scheme, name: str) -> Scheme:
            return scheme.with_(G=even_block(self.shapes[name][0])) if scheme.kind == "exact" else scheme

        if row.bits is None:
            head = {HEAD: row.head} if row.scheme.kind == "vq" else {}
            return {name: blocks(head.get(name, row.scheme), name) for name in self.names}
        choices = {n: [blocks(row.scheme.with_(R=r, c_w=c), n) for r, c in row.choices] for n in self.names}
        costs = measure_costs(self.module, choices, self.some, self.importance())
        bits = {n: {s: effective_bits(s, *self.shapes[n]) for s in choices[n]} for n in self.names}
        return allocate(costs, bits, {n: o * i for n, (o, i) in self.shapes.items()}, row.bits)

    def measure(self, label: str, row: Row) -> dict:
        fitted, seconds = self.fitted(row)
        if row.distillation:
            start, calibration = time.monotonic(), self.text.split()[0]
            chosen = windows(self.model.tokenizer, calibration, 512, row.distillation, self.seed + 1, shuffled=True)
            fitted = distill(self.module, fitted, chosen, progress=self.progress)
            seconds += time.monotonic() - start
        ratios = [p / q for p, q in zip(self.perplexities(simulated(self.module, fitted)), self.reference, strict=True)]
        weights = sum(o * i for o, i in self.shapes.values())
        bits = sum(q.bits_per_weight()[1] * 2 * q.pairs * q.outputs for q in fitted.values()) / weights
        numbers = {"bits": round(bits, 3), "ratios": [round(r, 4) for r in ratios], "seconds": round(seconds)}
        return {"method": label.strip(), **numbers}

    def fitted(self, row: Row) -> tuple[dict[str, QuantizedLinear], float]:
        """The linears before distillation, and the seconds they took when they were made in one go."""
        start = time.monotonic()
        digest = hashlib.sha256(repr(replace(row, distillation=0)).encode()).hexdigest()[:12]
        parts = self.directory / digest
        parts.mkdir(parents=True, exist_ok=True)
        importance = self.importance() if row.importance else None
        if not (parts / "schemes.json").exists():
            store.write_json(parts / "schemes.json", {name: s.to_dict() for name, s in self.schemes(row).items()})
        schemes = {n: Scheme.from_dict(values) for n, values in store.read_json(parts / "schemes.json").items()}
        found = quantize(
            self.model,
            layers=self.names,
            scheme=schemes,
            text=self.text,
            tokens=self.tokens,
            seed=self.seed,
            out_dir=parts / "linears",
            progress=self.progress,
            quantizer=partial(VectorQuantizer, **row.quantizer),
            sequential=row.sequential,
            importance=importance,
        ).linears
        if not (parts / "seconds.json").exists():
            store.write_json(parts / "seconds.json", {"seconds": time.monotonic() - start})
        return found, store.read_json(parts / "seconds.json")["seconds"]


class Report:
    """Rows of both tables whose labels match one of `patterns`, printed as they come and kept in `path`."""

    def __init__(self, patterns: str | None, path: Path | None) -> None:
        self.patterns, self.path = patterns.split(";") if patterns else ["*"], path
        self.found: dict[str, list[dict]] = {"methods": [], "ideas": []}

    def wanted(self, label: str) -> bool:
        return any(fnmatch.fnmatchcase(label.strip(), pattern) for pattern in self.patterns)

    def row(self, table: str, entry: dict, *columns: str) -> None:
        print(f"| {' | '.join(columns)} |", flush=True)
        self.found[table].append(entry)
        if self.path:
            store.write_atomic(self.path, json.dumps(self.found, indent=1).encode())


def methods(bench: Bench, report: Report) -> None:
    shown = " and ".join(f"{p:.3f}" for p in bench.reference)
    print(f"float perplexity {shown} (first {CHOOSING} windows, others); seed {bench.seed}\n")
    print("| method | bits | ratio, first 8 | ratio, others | seconds |\n|---|--:|--:|--:|--:|", flush=True)
    for label, row in ROWS.items():
        if report.wanted(label):
            entry = bench.measure(label, row)
            ratios = [f"{r:.3f}" for r in entry["ratios"]]
            report.row("methods", entry, label, f"{entry['bits']:.2f}", *ratios, str(entry["seconds"]))


def ideas(bench: Bench, layers: list[int], report: Report) -> None:
    inputs = record_inputs(bench.module, layers, bench.some, bench.held[:CHOOSING], bench.importance())
    print(f"\nlayers {layers}: cost in millionths of loss a token, by the input of the linears\n")
    print(f"| idea | {' | '.join(KINDS)} | all |\n|---|{'--:|' * (len(KINDS) + 1)}", flush=True)
    for label, costs in measure(inputs, report.wanted):
        entry = {"idea": label, "cost": dict(zip(KINDS, costs, strict=True))}
        report.row("ideas", entry, label, *(f"{c * 1e6:.0f}" for c in (*costs, sum(costs))))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--rows", help="patterns of methods and ideas, separated by semicolons (default: all)")
    parser.add_argument("--windows", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=32768)
    parser.add_argument("--layers", default="2,14,27", help="decoder layers that ideas are measured on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--progress", action="store_true")
    options = parser.parse_args()
    bench = Bench(options.model, options.output, options.tokens, options.windows, options.seed, options.progress)
    report = Report(options.rows, options.json)
    if any(report.wanted(label) for label in ROWS):
        methods(bench, report)
    if any(report.wanted(label) for label, _ in IDEAS):
        ideas(bench, [int(layer) for layer in options.layers.split(",")], report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
