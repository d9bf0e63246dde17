"""Qwen3-1.7B's shapes with random weights, from PyTorch to a token on this processor: seconds and memory of each stage.

    quantize   float model (bfloat16) -> import, structure -> linears a layer at a time -> head -> directory
    run        directory -> program, machine code -> one token read, decode steps

Each stage is a process of its own, so that its peak memory is its own. The weights are random and so is the text that
comes out: only size and time mean anything. The quantizer is lutllm's (GPTVQ, exact rows, R stages) at its fastest: two
rounds of fitting, no refits, no distillation, a handful of calibration tokens; very tall linears in slices of outputs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from lutllm.progress import note
from lutllm.quantizer.driver import peak_memory_mb
from lutllm.quantizer.linear.assembly import RowScale, assemble, row_scale
from lutllm.quantizer.linear.vector import VectorQuantizer
from lutllm.quantizer.linear.weights import damped, fit_weights
from lutllm.quantizer.protocol import FloatLinear
from lutllm.scheme import QuantizedLinear
from lutllm.tools.verbs import arguments

MODEL = "qwen3-1.7b"
SLICE = 8192  # outputs fitted at once
LIMIT_GB = 16
WINDOW = 64


class Quick(VectorQuantizer):
    """`VectorQuantizer` without refits, tall linears in slices, each slice's exponents brought to the largest."""

    def quantize_linear(self, linear: FloatLinear) -> QuantizedLinear:
        integers, hessian = self._input(linear.input_name)
        scale = row_scale(np.sqrt(np.mean(np.square(linear.weight), axis=1, dtype=np.float64))[:, None])
        parts = [
            fit_weights(
                linear.weight[rows] / scale.value[rows, None],
                damped(hessian),
                self.scheme,
                row_weights=scale.value[rows] ** 2,
                rounds=2,
                refits=0,
            )
            for rows in _slices(len(linear.weight), self.scheme.G)
        ]
        exponents = np.max([part.exponents for part in parts], axis=0)
        entries = [
            np.rint(part.entries * np.exp2(part.exponents - exponents.astype(float))[:, None, None, None, None])
            for part in parts
        ]
        sample = self._statistics[linear.input_name].sample
        return assemble(
            name=linear.name,
            input_name=linear.input_name,
            scheme=self.scheme,
            exponents=integers.exponents,
            codebook=None,
            weight_codebook=np.concatenate(entries, axis=1).astype(np.int8),
            weight_exponents=exponents,
            codes=np.concatenate([part.codes for part in parts], axis=2),
            scale=RowScale(scale.multiplier, scale.k),
            bias=linear.bias,
            output_peak=float(np.abs(linear(sample)).max()),
        )


def _slices(outputs: int, block: int) -> list[slice]:
    size = max(block, SLICE // block * block)
    return [slice(start, min(start + size, outputs)) for start in range(0, outputs, size)]


class Stages:
    """A line for each: seconds, and the most memory this process has held so far."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._clock = time.perf_counter()

    def done(self, name: str) -> None:
        now = time.perf_counter()
        self.rows.append({"stage": name, "seconds": round(now - self._clock, 2), "peak_memory_mb": peak_memory_mb()})
        note(f"{name:40} {now - self._clock:9.1f} s {peak_memory_mb():7} MB")
        self._clock = time.perf_counter()


def quantize(options: argparse.Namespace) -> list[dict[str, Any]]:
    from lutllm import models
    from lutllm.models.text import default_text
    from lutllm.quantizer import whole
    from lutllm.quantizer.recipe import Recipe, Rule

    whole.quantizer_of = lambda _: Quick  # type: ignore[assignment]
    stages = Stages()
    model = models.load(MODEL, layers=options.layers)
    stages.done("load the float model (bfloat16)")
    whole.structure_of(model)
    stages.done("import and structure")

    def finished(entry: dict[str, Any]) -> None:
        if "linear" in entry and entry["linear"].endswith(("down_proj", "lm_head")):
            stages.done(f"quantize up to {entry['linear']}")

    recipe = Recipe((Rule(scheme="exact", stages=options.stages),), "bench")
    whole.quantize_model(
        model,
        options.output,
        recipe,
        text=default_text(),
        tokens=options.tokens,
        window=WINDOW,
        distillation=0,
        listener=finished,
    )
    stages.done("decoder parameters, directory, read back")
    return stages.rows


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    from lutllm.quantized.pretrained import from_pretrained
    from lutllm.run.session import CpuSession

    stages = Stages()
    model = from_pretrained(options.output)
    stages.done("read the directory")
    session = CpuSession.of(model, 64)
    stages.done("program: " + ", ".join(f"{name} {value:.1f} s" for name, value in session.program.seconds.items()))
    logits = session.forward([1])
    stages.done("first token")
    for step in range(options.steps):
        logits = session.forward([int(np.argmax(logits[-1]))])
        stages.done(f"decode step {step + 1}, {session.program.threads} threads")
    size = session.program.bytes["parameters"]
    note(f"{model.bits['effective']:.2f} bits per weight, parameters {size / 2**20:.0f} MiB, {session.program.level}")
    return stages.rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="goes on where an earlier run was")
    parser.add_argument(
        "--layers", type=arguments.positive, metavar="N", help="the first N decoder layers (default: 28)"
    )
    parser.add_argument(
        "--tokens", type=arguments.positive, default=128, metavar="N", help="to calibrate (default 128)"
    )
    parser.add_argument("--stages", type=arguments.positive, default=2, metavar="R", help="default 2")
    parser.add_argument("--steps", type=arguments.positive, default=4, metavar="N", help="decode steps (default 4)")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--stage", choices=("quantize", "run"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps({"quantize": quantize, "run": run}[options.stage](options)))
        return 0
    found: dict[str, Any] = {}
    for stage in ("quantize", "run"):
        command = [sys.executable, __file__, *sys.argv[1:], "--stage", stage]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            return done.returncode
        found[stage] = json.loads(done.stdout)
    peak = max(row["peak_memory_mb"] for rows in found.values() for row in rows)
    print(f"peak memory {peak} MB of {LIMIT_GB * 1024}; written to {options.output}")
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n")
    return 0 if peak <= LIMIT_GB * 1024 else 1


if __name__ == "__main__":
    sys.exit(main())
