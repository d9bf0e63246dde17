"""Linears alone on the accelerator: rows from memory, through LutLinear, to memory; integers equal to the golden ones.

A hand-made program: for each linear load its rows, and for each of its rounds linear, feed and save.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from lutllm import interpreter
from lutllm.errors import SimulationError
from lutllm.hardware import build
from lutllm.lowering.accelerator import IMAGE_HEADER, AcceleratorConfig
from lutllm.lowering.accelerator_to_hw import ACCELERATOR_TOP, accelerator_to_hw
from lutllm.lowering.engine import MODES, ROUND_MAGIC
from lutllm.lowering.hw_to_sv import hw_ports, hw_to_sv
from lutllm.lowering.image.linear import static_image
from lutllm.lowering.image.whole import descriptor, header
from lutllm.lowering.layout.channels import Layout, outputs_layout, relaid
from lutllm.lowering.plan.data import HEADER, Buffer, Plan, Task
from lutllm.lowering.plan.waits import hoisted, with_waits
from lutllm.lowering.program import Program, Region, Round
from lutllm.lowering.schedule import AddressSpace, Layer, engine_for, place_round, rounds_of
from lutllm.lowering.stream_depths import with_depths
from lutllm.lowering.targets import TARGETS
from lutllm.lowering.testbench import write_testbench
from lutllm.quantize.random import random_linear
from lutllm.scheme import ADDITIVE, EXACT, QuantizedLinear, Scheme
from lutllm.simulate import AxiTiming, Simulator
from lutllm.simulate.accelerator import Accelerator
from lutllm.transactions.simulator import TransactionSimulator

CONTEXT, MODEL = 40, 0x5EED
ENGINES = ("linear", "feed", "load", "save")
SEARCHED = ADDITIVE.with_(table_bits=10)
SMALL = replace(TARGETS["tiny"].engine, acc_words=24)  # so that a linear has several rounds
CONFIGS = {
    "any": with_depths(AcceleratorConfig(engine_for([EXACT, SEARCHED], SMALL), ENGINES, 8, CONTEXT)),
    # A group joins two words of memory x; there is no search.
    "exact": with_depths(AcceleratorConfig(engine_for([EXACT], replace(SMALL, pairs=4)), ENGINES, 8, CONTEXT)),
}


@cache
def simulator(kind: str) -> Simulator:
    return build(CONFIGS[kind], "arc")


@dataclass
class Rows:
    """A program of linears: its plan, the linears as laid out, and where each one's rows are."""

    plan: Plan
    physical: dict[str, QuantizedLinear]
    layouts: dict[str, tuple[Layout, Layout]]

    def image(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """The memory before a run that reads `inputs`, [tokens, channels], in passes from token 0 on."""
        plan, memory = self.plan, np.zeros(self.plan.memory_bytes, np.uint8)
        words = {
            HEADER: header(plan, MODEL),
            "prefill": [w for t in plan.program("prefill") for w in descriptor(plan, t)],
        }
        images = {name: np.array(values, "<u8").view(np.uint8) for name, values in words.items()}
        program = Program(plan.config.engine, plan.regions, tuple(plan.rounds.values()))
        for round_ in plan.rounds.values():
            images |= static_image(program, round_, self.physical[round_.linear])
        images |= {f"{name}.x": self.rows(self.layouts[name][0].place(x), "<i2") for name, x in inputs.items()}
        for name, data in images.items():
            region = plan.regions[name]
            memory[region.address : region.address + data.size] = data
        return memory

    def rows(self, values: np.ndarray, kind: str) -> np.ndarray:
        """Rows [tokens, channels] as they lie in memory: pass after pass, in each word after word."""
        lanes, parts = self.plan.config.lanes, []
        for first in range(0, len(values), self.plan.config.tokens):
            part = values[first : first + self.plan.config.tokens]
            parts.append(part.reshape(len(part), -1, lanes).transpose(1, 0, 2).reshape(-1))
        return np.concatenate(parts).astype(kind).view(np.uint8)

    def output(self, memory: np.ndarray, name: str, tokens: int) -> np.ndarray:
        """The rows that a run left in memory, by logical channel."""
        config, layout = self.plan.config, self.layouts[name][1]
        region, found = self.plan.regions[f"{name}.y"], []
        values = memory[region.address :][: tokens * layout.size * 4].view("<i4").astype(np.int64)
        for first in range(0, tokens, config.tokens):
            part = values[first * layout.size : (first + config.tokens) * layout.size]
            count = part.size // layout.size
            found.append(part.reshape(-1, count, config.lanes).transpose(1, 0, 2).reshape(count, -1))
        return layout.pick(np.concatenate(found))


def rows_program(config: AcceleratorConfig, linears: dict[str, QuantizedLinear], sources: dict[str, str]) -> Rows:
    engine, lanes = config.engine, config.lanes
    space, rounds, tasks = AddressSpace(1 << 24), {}, []
    space.add(HEADER, "h", 0, "", 8 * len(IMAGE_HEADER))
    layouts, physical = {}, {}
    most = 0
    for name, linear in linears.items():
        unit = max(lanes, 2 * engine.pairs)
        inputs = np.full(-(-2 * linear.pairs // unit) * unit, -1)
        inputs[: 2 * linear.pairs] = np.arange(2 * linear.pairs)
        outputs = outputs_layout(name, linear.outputs, linear.scheme.G, engine.lanes)
        layouts[name] = Layout(inputs, len(inputs)), outputs
        physical[name] = relaid(linear, *layouts[name])
        scheme = linear.scheme.with_(G=outputs.block)
        assert config.tokens * outputs.block // engine.lanes <= engine.acc_words
        layer = Layer(name, len(inputs) // 2, outputs.size, config.tokens, scheme, sources[name], linear.shift)
        rounds |= {r.name: replace(r, x="", y="") for r in rounds_of(layer, engine)}
        for round_ in rounds.values():
            place_round(round_, engine, space)
        x = space.add(f"{name}.x", "x", 0, name, CONTEXT * len(inputs) * 2)
        y = space.add(f"{name}.y", "y", 0, name, CONTEXT * outputs.size * 4)
        mine = [r for r in rounds.values() if r.linear == name]
        tasks += [*_tasks(name, mine, x, y, len(inputs) // lanes, outputs.size // lanes, config)]
        most = max(most, len(inputs) // lanes)
    buffer = Buffer("rows", "x", 0, most, most * config.tokens)
    ordered = tuple(with_waits(hoisted(tasks), {"rows": buffer}))
    plan = Plan(config, CONTEXT, 1, space.regions, {"rows": buffer}, rounds, ordered)
    size = 8 * sum(len(descriptor(plan, task)) for task in ordered)
    listed = space.add("prefill", "d", 0, "", size)
    space.regions["decode"] = replace(listed, name="decode")
    space.regions["head"] = Region("head", 0, 0, "d", 0, "")
    decode = tuple(replace(task, program="decode") for task in ordered)  # the same list, for transactions
    return Rows(replace(plan, tasks=ordered + decode), physical, layouts)


def _tasks(
    name: str, rounds: list[Round], x: Region, y: Region, words: int, row: int, config: AcceleratorConfig
) -> Iterator[Task]:
    lanes, parts = config.lanes, config.engine.lanes // config.lanes

    def task(what: str, engine: str, fields: dict[str, int], **rest: object) -> Task:
        return Task(f"{name}.{what}", "prefill", engine, name, fields, **rest)  # type: ignore[arg-type]

    yield task("load", "load", dict(base=0, words=words, address=x.address), writes=("rows",))
    for r in rounds:
        fields = dict(magic=ROUND_MAGIC, mode=MODES.index(r.row_source), stages=r.stages, shift=r.shift, tokens=0)
        fields |= dict(groups=r.groups, blocks=r.blocks, block_chunks=r.block_chunks, last_chunks=r.last_chunks)
        yield task(r.name, "linear", fields, round=r.name)
        yield task(f"{r.name}.feed", "feed", dict(base=0, groups=r.groups), reads=("rows",), round=r.name)
        save = dict(start=r.output_offset // lanes, words=r.chunks * parts, row_words=row, address=y.address)
        yield task(f"{r.name}.save", "save", save, round=r.name)


@cache
def case(kind: str, source: str, jobs: tuple[tuple[int, int, Scheme], ...], tokens: int):  # type: ignore[no-untyped-def]
    """A program of random linears, (pairs, outputs, scheme) each, their inputs and golden outputs."""
    linears, inputs, golden = {}, {}, {}
    for i, (pairs, outputs, scheme) in enumerate(jobs):
        name = f"linear{i}"
        linear = random_linear(2 * pairs, outputs, scheme, i, name=name, tables=source == "stored_table")
        half = 1 << scheme.x_bits - 1
        linears[name] = linear
        inputs[name] = np.random.default_rng([i, tokens]).integers(-half, half, (tokens, 2 * pairs))
        golden[name] = interpreter.linear(linear, inputs[name], source)
    made = rows_program(CONFIGS[kind], linears, dict.fromkeys(linears, source))
    return made, made.image(inputs), golden


def check(accelerator: Accelerator, made: Rows, golden: dict[str, np.ndarray], tokens: int) -> None:
    for name, wanted in golden.items():
        assert np.array_equal(made.output(accelerator.memory.data, name, tokens), wanted), name


@pytest.mark.parametrize("tokens", [1, 4, 11, 13])
@pytest.mark.parametrize("source", MODES)
def test_a_linear_of_any_row_source(source: str, tokens: int) -> None:
    """Passes of 4 tokens and of the rest, one among them: both lists are one. Several rounds of several blocks."""
    scheme = EXACT.with_(G=24) if source == "exact_row" else SEARCHED.with_(G=24)
    made, image, golden = case("any", source, ((7, 90, scheme),), tokens)
    assert len(made.plan.rounds) > 1
    accelerator = Accelerator(made.plan.config, simulator("any"), image, watchdog=9000)
    run = accelerator.start(tokens, 0).check()
    assert run.tokens == [] and {span.engine for span in run.spans} == set(ENGINES)
    check(accelerator, made, golden, tokens)


@pytest.mark.parametrize(
    "timing",
    [AxiTiming(latency=1), AxiTiming(latency=200),
     AxiTiming(latency=20, outstanding=3, stall_address=90, stall_data=120, stall_response=100)],
    ids=["fast", "slow", "stalls"],
)  # fmt: skip
@pytest.mark.parametrize("base", [0, 0x3_4000_0000])
def test_linears_one_after_the_other_under_any_memory(timing: AxiTiming, base: int) -> None:
    made, image, golden = case("exact", "exact_row", ((7, 40, EXACT), (13, 17, EXACT.with_(R=1)), (4, 3, EXACT)), 10)
    accelerator = Accelerator(made.plan.config, simulator("exact"), image, base=base, timing=timing, watchdog=9000)
    accelerator.start(10, 0).check()
    check(accelerator, made, golden, 10)


def test_a_run_goes_on_at_a_position() -> None:
    """The rows before it stay; its passes lie as if the whole had been one run of passes that end there."""
    made, image, golden = case("exact", "exact_row", ((7, 40, EXACT),), 12)
    accelerator = Accelerator(made.plan.config, simulator("exact"), image)
    accelerator.start(8, 0).check()
    region = made.plan.regions["linear0.y"]
    after = accelerator.memory.data[region.address : region.address + region.size].reshape(CONTEXT, -1)
    assert after[:8].any() and not after[8:].any()
    accelerator.start(12, 0, position=8).check()
    check(accelerator, made, golden, 12)


def test_transactions_write_the_same_bytes() -> None:
    made, image, _ = case("any", "built_row", ((7, 90, SEARCHED.with_(G=24)),), 11)
    accelerator = Accelerator(made.plan.config, simulator("any"), image)
    accelerator.start(11, 0).check()
    simulated = TransactionSimulator(made.plan, image, made.physical)
    assert simulated.generate([0] * 11, 0).error == "none"
    assert np.array_equal(simulated.chip.image, accelerator.memory.data)


@pytest.mark.parametrize(("end", "error"), [("x", "memory_read"), ("y", "memory_write")])
def test_memory_that_answers_with_an_error(end: str, error: str) -> None:
    made, image, _ = case("exact", "exact_row", ((7, 40, EXACT),), 12)
    region = made.plan.regions[f"linear0.{end}"]
    fault = (region.address + 8, region.address + 16)
    assert Accelerator(made.plan.config, simulator("exact"), image, fault=fault).start(12, 0).error == error


def test_what_nobody_uses_is_not_built() -> None:
    names = {port.name for port in simulator("exact").layout.ports}
    masters = {name.removesuffix("valid")[6:] for name in names if name.startswith("m_axi_") and "valid" in name}
    reads, writes = {"d_ar", "c_ar", "q_ar", "w0_ar", "x_ar"}, {"y_aw", "y_w", "y_b"}
    assert masters == reads | {name[:-2] + "r" for name in reads} | writes
    states = {state.name for state in simulator("exact").layout.states if state.depth}
    assert {name.split("/")[0] for name in states if name.startswith("memory_")} == {"memory_x"}
    assert not any(name.startswith(("registers/ids", "norm", "attention")) for name in states)
    accelerator = Accelerator(CONFIGS["exact"], simulator("exact"), case("exact", "exact_row", ((4, 3, EXACT),), 1)[1])
    with pytest.raises(SimulationError, match="expected OKAY, got the response 2"):
        accelerator.load([1, 2])  # there are no token ids


@pytest.mark.skipif(shutil.which("verilator") is None, reason="verilator is not installed (apt install verilator)")
def test_its_own_bench_compares_rows(tmp_path: Path) -> None:
    made, image, golden = case("exact", "exact_row", ((7, 40, EXACT),), 10)
    config = made.plan.config
    accelerator = Accelerator(config, simulator("exact"), image)
    accelerator.start(10, 0).check()
    check(accelerator, made, golden, 10)
    design = accelerator_to_hw(config, "sv")
    hw_to_sv(design, ACCELERATOR_TOP, tmp_path / "rtl")
    x, y = (made.plan.regions[f"linear0.{end}"] for end in "xy")
    lint = ["verilator", "--lint-only", "-Wall", "lint.vlt", "-F", "filelist.f", "--top-module", ACCELERATOR_TOP]
    assert subprocess.run(lint, cwd=tmp_path / "rtl", capture_output=True, text=True).stderr == ""
    inputs = {x.address: image[x.address : x.address + x.size].tobytes()}
    outputs = {y.address: accelerator.memory.data[y.address : y.address + y.size].tobytes()}
    image[x.address : x.address + x.size] = 0xEE
    (tmp_path / "image.bin").write_bytes(image.tobytes())
    write_testbench(
        config, hw_ports(design, ACCELERATOR_TOP), tmp_path / "tb", [], [], MODEL, "../image.bin", length=10,
        inputs=inputs, outputs=outputs,
    )  # fmt: skip
    done = subprocess.run([tmp_path / "tb" / "run.sh"], capture_output=True, text=True, env=os.environ | {"OPT": "-O0"})
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert f"output_{y.address:x}.bin: {y.size} of {y.size} bytes as expected" in done.stdout
    wrong = bytearray(outputs[y.address])
    wrong[5] ^= 1
    (tmp_path / "tb" / f"output_{y.address:x}.bin").write_bytes(wrong)
    done = subprocess.run([tmp_path / "tb" / "run.sh"], capture_output=True, text=True, env=os.environ | {"OPT": "-O0"})
    assert done.returncode == 1 and f"the first that differs at {y.address + 5:#x}  WRONG" in done.stdout
