"""Fixtures of the tests of linears on hardware: accelerators built once a session, random linears with golden
results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lutllm.accelerator.activations import Activations, Computed
from lutllm.accelerator.hardware import PASSES
from lutllm.accelerator.linear_program import linear_program
from lutllm.bindings import ir
from lutllm.compiler import Options, compile
from lutllm.compiler.compiled import Compiled
from lutllm.cost.predicted import predicted, run_cycles
from lutllm.dialect.linears.schemes import after
from lutllm.lowering import pipelines
from lutllm.lowering.export.hw_to_arc import hw_to_arc
from lutllm.lowering.export.image.whole import whole_image
from lutllm.lowering.hardware.accelerator_to_hw import ACCELERATOR_TOP, accelerator_to_hw
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.lowering.machine.engine import EngineConfig
from lutllm.lowering.machine.form import Machine, write_machine
from lutllm.lowering.machine.targets import find_target
from lutllm.passes import run_pipeline
from lutllm.quantized.pretrained import save_pretrained
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.linear import random_linear
from lutllm.quantizer.random.model import random_model
from lutllm.run.session import GoldenSession
from lutllm.scheme import EXACT, QuantizedLinear, Scheme
from lutllm.simulate import ArcSimulator, AxiTiming, Simulator
from lutllm.simulate.accelerator import Accelerator
from lutllm.simulate.transactions.passes import run_passes

CONTEXT = 40
X_WORDS = 1024
ENGINES = {
    "tiny": find_target("tiny").engine,
    "small": find_target("small").engine,
    # one pair, chains of length 1, the narrowest ports, single-beat bursts, one of them at a time
    "one-pair": EngineConfig(
        pairs=1, lanes=4, centroids=4, chains=4, metric="l2", requant_lanes=4, tokens=3, acc_words=9, codes_depth=2,
        port_bits={"w": 32, "c": 32, "q": 32}, burst_beats=1, outstanding=1,
    ),
    # a group joins three words; 15 centroids in 3 chains, two additive stages, wide terms and results, three w ports
    "six-pairs": EngineConfig(
        pairs=6, lanes=12, centroids=15, chains=3, act_stages=2, metric="l2", term_bits=31, table_bits=12, out_bits=32,
        requant_lanes=4, tokens=5, acc_words=33, codes_depth=3, weight_ports=3,
        port_bits={"w": 32, "c": 128, "q": 64}, burst_beats=4,
    ),
    # two weight ports, 4-bit weights, narrow tables and results, one chain, lanes that are no power of two
    "two-ports": EngineConfig(
        pairs=4, lanes=20, centroids=6, chains=1, weight_bits=4, table_bits=6, term_bits=20, out_bits=16,
        requant_lanes=4, tokens=4, acc_words=20, codes_depth=5, weight_ports=2,
        port_bits={"w": 64, "c": 32, "q": 256}, burst_beats=64, outstanding=2,
    ),
    # single row sources: no search, no tables, no codebooks. A chunk leaves in a cycle; passes of one token.
    "exact-only": EngineConfig(
        pairs=2, lanes=16, centroids=4, chains=2, requant_lanes=16, tokens=1, acc_words=5, row_sources=("exact_row",),
        port_bits={"w": 128, "c": 32, "q": 512},
    ),
    # a chain so long that more groups are in it than a short one has operand banks for
    "row-only": EngineConfig(
        pairs=20, lanes=4, centroids=10, chains=5, act_stages=2, requant_lanes=4, tokens=7, acc_words=14, codes_depth=4,
        row_sources=("built_row",), weight_ports=5, port_bits={"w": 32, "c": 512, "q": 128},
    ),
    "table-only": EngineConfig(
        pairs=2, lanes=8, centroids=12, chains=4, metric="l2", requant_lanes=4, tokens=2, acc_words=16,
        row_sources=("built_table",), port_bits={"w": 64, "c": 256, "q": 64},
    ),
    # a word holds two groups
    "stored-only": EngineConfig(
        pairs=2, lanes=16, centroids=9, chains=3, act_stages=2, table_bits=16, requant_lanes=8, tokens=3, acc_words=21,
        row_sources=("stored_table",), weight_ports=2, port_bits={"w": 128, "c": 64, "q": 64}, outstanding=8,
    ),
    # rows made in steps: an entry a cycle for strips of two chunks, so that rows are waited for
    "one-write": EngineConfig(
        pairs=4, lanes=8, row_writes=1, sum_chains=2, centroids=6, chains=3, requant_lanes=4, tokens=5, acc_words=40,
        codes_depth=5, weight_ports=2, port_bits={"w": 64, "c": 64, "q": 64},
    ),
    # a chunk a strip; three pairs a chain would be one too many for a tree of two
    "two-writes": EngineConfig(
        pairs=6, lanes=4, row_writes=2, sum_chains=3, centroids=4, chains=1, act_stages=2, term_bits=20, metric="l2",
        requant_lanes=4, tokens=3, acc_words=30, codes_depth=3, weight_ports=3, port_bits={"w": 32, "c": 64, "q": 32},
    ),
    # as many steps as a strip has chunks, a chain for each pair
    "four-writes": EngineConfig(
        pairs=2, lanes=8, row_writes=4, sum_chains=2, centroids=4, chains=2, requant_lanes=4, tokens=4, acc_words=64,
        codes_depth=8, port_bits={"w": 128, "c": 64, "q": 64},
    ),
    "eight-writes": EngineConfig(
        pairs=4, lanes=16, row_writes=8, centroids=4, chains=2, requant_lanes=8, tokens=1, acc_words=9, codes_depth=16,
        port_bits={"w": 256, "c": 128, "q": 128},
    ),
    # v80 at an eighth of its size in each direction: a row lasts as long as it takes to make
    "eighth": EngineConfig(
        pairs=32, lanes=8, row_writes=1, sum_chains=4, centroids=4, chains=2, requant_lanes=8, tokens=4, acc_words=64,
        codes_depth=64, row_sources=("exact_row",), weight_ports=8, port_bits={"w": 64, "c": 256, "q": 256},
    ),
    # the search as in the paper, at its width
    "wide": EngineConfig(
        pairs=2, lanes=64, centroids=64, chains=4, requant_lanes=16, tokens=4, acc_words=16,
        port_bits={"w": 256, "c": 256, "q": 512},
    ),
}  # fmt: skip


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
        timing = options.get("timing", AxiTiming())
        if timing == AxiTiming(latency=getattr(timing, "latency", 1)):  # a memory that never refuses
            plan = self.activations.plan
            wanted = predicted(plan, run_passes(self.tokens, 0, plan.config.tokens), timing.latency)
            assert wanted == found.records and run_cycles(wanted) == found.run.cycles
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
        engine, ("linear", "feed", "load", "save"), head_lanes=engine.requant_lanes,
        kv_bits=8 * engine.requant_lanes, context=CONTEXT, x_words=X_WORDS, score_words=1, item_words=1, head_words=1,
    )  # fmt: skip
    return Machine(config, 64, 1 << 28)


def make_case(
    engine: EngineConfig, jobs: Sequence[dict[str, Any]], tokens: int, seed: int = 0, *, sized: bool = True
) -> Case:
    """A job has `pairs`, `outputs`, `row_source`; `R`, `G`, `c_w`, `S`, `c_a`, `x_bits`, `bias`, `like` (an earlier job
    whose input it reads) if wanted. `sized`: FIFOs as deep as `lut-size-streams` makes them, else the usual ones."""
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
def engines() -> dict[str, EngineConfig]:
    return ENGINES


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


@pytest.fixture(scope="session")
def attention_target(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """The file of a target like tiny with units of attention, ways in each, ports of so many bits, rows and ports."""

    def path(units: int, ways: int, kv_bits: int, rows: int = 1, ports: int = 1) -> str:
        file = tmp_path_factory.getbasetemp() / f"{units}_{ways}_{kv_bits}_{rows}_{ports}.toml"
        values = f"attention_units = {units}\nattention_ways = {ways}\nkv_bits = {kv_bits}"
        values += f"\nattention_rows = {rows}\nattention_ports = {ports}"
        head, sources = 'like = "tiny"\nsummary = "a case"', '[sources]\naccelerator = "the case"'
        file.write_text(f"{head}\n[accelerator]\n{values}\n{sources}\n")
        return str(file)

    return path


@pytest.fixture(scope="session")
def compiled_for() -> Callable[[str, Path], Path]:
    """Makes a random tiny model with a tokenizer, and what `lutllm compile` writes of it for a target in a folder."""
    pytest.importorskip("transformers", reason="tokenizers need transformers: pip install 'lutllm[models]'")
    from lutllm.models.tokenizer import byte_tokenizer

    def made(target: str, folder: Path) -> Path:
        shape = float_decoder(hidden=16, intermediate=24, layers=1, heads=2, kv_heads=1, head_dim=8)
        model, about = random_model(shape, EXACT, seed=3, positions=48), {"model": {"name": "tiny"}}
        model = replace(model, tokenizer=byte_tokenizer(), config={"model_type": "llama"}, about=about)
        options = Options(target=target, context=32, prompt="abc", tokens=2, simulator=None)
        return compile(save_pretrained(model, folder / "q"), folder / "out", options).directory

    return made


@pytest.fixture(scope="session")
def compiled(compiled_for: Callable[[str, Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For target tiny."""
    return compiled_for("tiny", tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="session")
def golden(compiled: Path) -> list[int]:
    """The reference interpreter's four greedy tokens after "abc" of what was compiled."""
    session = GoldenSession(Compiled(compiled).model.lut(32), Compiled(compiled).model.tensors)
    made: list[int] = []
    for _ in range(4):
        made.append(int(np.argmax(session.forward(made[-1:] or list(b"abc"))[-1])))
    return made
