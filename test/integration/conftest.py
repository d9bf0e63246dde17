"""Fixtures of the tests of linears on hardware: accelerators built once a session, random linears with golden results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from lutllm.activations import Activations, Computed
from lutllm.bindings import ir
from lutllm.dialect.schemes import after
from lutllm.hardware import PASSES
from lutllm.linear_program import linear_program
from lutllm.lowering import pipelines
from lutllm.lowering.accelerator import AcceleratorConfig
from lutllm.lowering.accelerator_to_hw import ACCELERATOR_TOP, accelerator_to_hw
from lutllm.lowering.engine import EngineConfig
from lutllm.lowering.hw_to_arc import hw_to_arc
from lutllm.lowering.image.whole import whole_image
from lutllm.lowering.place.machine import Machine, write_machine
from lutllm.passes import run_pipeline
from lutllm.quantize.random import random_linear
from lutllm.scheme import QuantizedLinear, Scheme
from lutllm.simulate import ArcSimulator, Simulator
from lutllm.simulate.accelerator import Accelerator

CONTEXT = 40
X_WORDS = 1024


@dataclass
class Case:
    """Random linears on their machine, inputs of some tokens for them, and what the interpreter computes."""

    activations: Activations
    inputs: list[np.ndarray]
    golden: dict[str, np.ndarray]

    @property
    def tokens(self) -> int:
        return len(self.inputs[0])

    @property
    def image(self) -> np.ndarray:
        """The memory before a run."""
        return self.activations.inputs_image(self.inputs)

    def run(self, simulator: Simulator, **options: Any) -> Computed:
        """Simulate; every element must equal the golden one."""
        found = self.activations.run_image(simulator, self.image, self.tokens, self.golden, **options)
        assert [str(mismatch) for mismatch in found.mismatches] == []
        assert set(found.outputs) == set(self.golden)
        return found

    def equal(self, accelerator: Accelerator) -> bool:
        """Whether an accelerator's memory holds the golden results."""
        found = self.activations.results(accelerator.memory.data, self.tokens)
        return all(np.array_equal(found[name], golden) for name, golden in self.golden.items())

    def accelerator(self, simulator: Simulator, image: np.ndarray | None = None, **options: Any) -> Accelerator:
        """One that is about to run it."""
        image = self.image if image is None else image
        return Accelerator(self.activations.plan.config, simulator, image, **options)

    def with_tokens(self, tokens: int) -> Case:
        """The first of its tokens."""
        golden = {name: values[:tokens] for name, values in self.golden.items()}
        return Case(self.activations, [x[:tokens] for x in self.inputs], golden)


def machine_of(engine: EngineConfig) -> Machine:
    """`engine` with what linears alone need around it."""
    config = AcceleratorConfig(
        engine, ("linear", "feed", "load", "save"), head_lanes=engine.requant_lanes, context=CONTEXT, x_words=X_WORDS,
        score_words=1, item_words=1, head_words=1,
    )  # fmt: skip
    return Machine(config, 64, 1 << 28)


def make_case(
    engine: EngineConfig, jobs: Sequence[dict[str, Any]], tokens: int, seed: int = 0, *, sized: bool = True
) -> Case:
    """A job has `pairs`, `outputs`, `row_source`; `R`, `G`, `c_w`, `S`, `c_a`, `x_bits`, `bias`, `like` (an earlier job
    whose input it reads) if wanted. `sized`: FIFOs as deep as `lut-size-streams` makes them, else as they usually are."""
    linears: list[QuantizedLinear] = []
    for i, job in enumerate(jobs):
        linears.append(_linear(engine, job, seed + i, f"layer{i}", linears))
    module, tensors = linear_program(linears, {f"layer{i}": job["row_source"] for i, job in enumerate(jobs)})
    with module.context, ir.Location.unknown(), after(module.body, "lut.scheme"):
        write_machine(machine_of(engine), memories=("x",))
    passes = pipelines.to_scheduled("tiny")
    run_pipeline(module, passes if sized else passes.replace("lut-size-streams,", ""), passes=PASSES)
    activations = Activations(module, tensors, whole_image(module, tensors))
    readers: dict[str, QuantizedLinear] = {}
    for linear in linears:
        readers.setdefault(linear.input_name, linear)
    rng, inputs = np.random.default_rng(seed), []
    for linear in readers.values():
        half = 1 << (linear.scheme.x_bits - 1)
        inputs.append(rng.integers(-half, half, (tokens, 2 * linear.pairs)))
    return Case(activations, inputs, activations.golden(inputs))


def _linear(
    engine: EngineConfig, job: dict[str, Any], seed: int, name: str, linears: list[QuantizedLinear]
) -> QuantizedLinear:
    searches = job["row_source"] != "exact_row"
    x_bits = job.get("x_bits", engine.operand_bits)
    scheme = Scheme(
        kind="vq" if searches else "exact",
        c_a=job.get("c_a", engine.centroids) if searches else 0,
        S=job.get("S", engine.act_stages) if searches else 0,
        R=job.get("R", 1),
        c_w=job.get("c_w", 16),
        G=job.get("G", 1 << 20),
        metric=engine.metric,
        x_bits=x_bits,
        act_bits=x_bits,
        weight_bits=engine.weight_bits,
        table_bits=engine.table_bits,
        term_bits=engine.term_bits,
        out_bits=engine.out_bits,
    )
    like = None if job.get("like") is None else linears[job["like"]]
    made = random_linear(
        2 * job["pairs"], job["outputs"], scheme, seed, name=name, tables=job["row_source"] == "stored_table",
        bias=job.get("bias", True), codebook=None if like is None else like.codebook,
    )  # fmt: skip
    return made if like is None else replace(made, input_name=like.input_name, exponents=like.exponents)


@pytest.fixture(scope="session")
def machine() -> Callable[[EngineConfig], Machine]:
    return machine_of


@pytest.fixture(scope="session")
def case() -> Callable[..., Case]:
    return make_case


@pytest.fixture(scope="session")
def arc() -> Callable[..., Simulator]:
    """The simulator of a case's accelerator, built at its first use; `optimize` is worth it from some runs on."""
    built: dict[tuple[int, int], Simulator] = {}

    def get(made: Case, optimize: int = 1) -> Simulator:
        config = made.activations.plan.config
        key = config.identity, optimize
        if key not in built:
            model = hw_to_arc(accelerator_to_hw(config, "arc"), ACCELERATOR_TOP)
            built[key] = ArcSimulator(model, optimize=optimize)
        return built[key]

    return get
