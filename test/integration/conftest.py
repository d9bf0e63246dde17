"""Fixtures of the whole-engine tests: engines built once a session, programs of random linears with golden results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from lutllm import interpreter
from lutllm.lowering.accelerator_to_hw import ENGINE_TOP, engine_to_hw
from lutllm.lowering.engine import EngineConfig
from lutllm.lowering.hw_to_arc import hw_to_arc
from lutllm.lowering.program import Program
from lutllm.lowering.schedule import Layer, schedule
from lutllm.quantize.random import random_linear
from lutllm.scheme import QuantizedLinear, Scheme
from lutllm.simulate import ArcSimulator
from lutllm.simulate.program import ProgramRun, compare, simulate_program


@dataclass
class Case:
    """A scheduled program of random linears, their inputs, and what the interpreter computes."""

    program: Program
    layers: list[Layer]
    linears: dict[str, QuantizedLinear]
    inputs: dict[str, np.ndarray]
    golden: dict[str, np.ndarray]

    def run(self, simulator: Any, **options: Any) -> ProgramRun:
        """Simulate; every element must equal the golden one."""
        done = simulate_program(self.program, self.linears, self.inputs, simulator, **options)
        assert [str(mismatch) for mismatch in compare(done, self.golden)] == []
        assert set(done.outputs) == set(self.golden)
        return done


def make_case(engine: EngineConfig, jobs: list[dict[str, Any]], seed: int = 0, memory: int = 1 << 24) -> Case:
    """A job has `pairs`, `outputs`, `tokens`, `row_source`; `R`, `G`, `c_w`, `S`, `c_a`, `x_bits`, `bias` if wanted."""
    layers, linears, inputs, golden = [], {}, {}, {}
    for i, job in enumerate(jobs):
        source, name = job["row_source"], job.get("name", f"layer{i}")
        searches = source != "exact_row"
        scheme = Scheme(
            kind="vq" if searches else "exact",
            c_a=job.get("c_a", engine.centroids) if searches else 0,
            S=job.get("S", engine.act_stages) if searches else 0,
            R=job.get("R", 1),
            c_w=job.get("c_w", 16),
            G=job.get("G", 1 << 20),
            metric=engine.metric,
            x_bits=job.get("x_bits", engine.operand_bits),
            act_bits=min(job.get("x_bits", 16), engine.operand_bits),
            weight_bits=engine.weight_bits,
            table_bits=engine.table_bits,
            term_bits=engine.term_bits,
            out_bits=engine.out_bits,
        )
        pairs, outputs, tokens = job["pairs"], job["outputs"], job["tokens"]
        stored = source == "stored_table"
        bias = job.get("bias", True)
        linears[name] = random_linear(2 * pairs, outputs, scheme, seed + i, name=name, tables=stored, bias=bias)
        half = 1 << (scheme.x_bits - 1)
        inputs[name] = np.random.default_rng([seed, i]).integers(-half, half, (tokens, 2 * pairs))
        golden[name] = interpreter.linear(linears[name], inputs[name], source)
        layers.append(Layer(name, pairs, outputs, tokens, scheme, source, linears[name].shift))
    return Case(schedule(layers, engine, memory), layers, linears, inputs, golden)


@pytest.fixture(scope="session")
def case() -> Callable[..., Case]:
    return make_case


@pytest.fixture(scope="session")
def arc_engine() -> Callable[[EngineConfig], ArcSimulator]:
    """The simulator of an engine, built at its first use."""
    built: dict[str, ArcSimulator] = {}

    def get(engine: EngineConfig) -> ArcSimulator:
        key = repr(engine)
        if key not in built:
            built[key] = ArcSimulator(hw_to_arc(engine_to_hw(engine, "arc"), ENGINE_TOP), optimize=1)
        return built[key]

    return get
