"""The whole accelerator in the arc JIT: every token equal to the golden model's, whatever the model and the memory."""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lutllm import interpreter
from lutllm.accelerator.hardware import PASSES, Hardware, build, copy_of
from lutllm.bindings import ir
from lutllm.cost.predicted import predicted, run_cycles
from lutllm.dialect.linears.schemes import after
from lutllm.dialect.machines.machine import MEMORIES
from lutllm.lowering import pipelines
from lutllm.lowering.export.image.whole import whole_image
from lutllm.lowering.hardware.control.register_map import STATUS_BUSY
from lutllm.lowering.machine.engine import MODES
from lutllm.lowering.machine.form import Machine, read_machine, write_machine
from lutllm.lowering.schedule.descriptors import list_region
from lutllm.passes import run_pipeline
from lutllm.quantized.pretrained import QuantizedModel
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.run.session import GoldenSession
from lutllm.scheme import ADDITIVE, EXACT, Scheme
from lutllm.simulate import ArcSimulator, AxiTiming, SimulationError, Simulator
from lutllm.simulate.accelerator import Accelerator, AcceleratorRun
from lutllm.simulate.transactions.passes import run_passes

CONTEXT = 96
VOCABULARY = 301  # of no multiple of anything
LLAMA: dict[str, Any] = dict(vocabulary=VOCABULARY)
QWEN3: dict[str, Any] = dict(vocabulary=VOCABULARY, qk_norm=True, heads=3, kv_heads=1, head_dim=20, hidden=36)


def random_of(scheme: Scheme | Callable[[str], Scheme] = EXACT, **shape: Any) -> QuantizedModel:
    return random_model(float_decoder(**(LLAMA | shape)), scheme, positions=CONTEXT)


def mixed() -> QuantizedModel:
    """A model whose linears have different schemes and stages."""

    def scheme(name: str) -> Scheme:
        return ADDITIVE if "mlp" in name else EXACT if "self_attn" in name else EXACT.with_(R=1)

    return random_of(scheme)


@cache
def machine(kind: str) -> Machine:
    """One for every small model with the schemes of a kind, so that it is built once."""
    made = random_of() if kind == "exact" else mixed()
    found = read_machine(Hardware.of(made.lut(), made.tensors, target="tiny").module.operation)
    sizes = dict(r_words=256, x_words=1024, y_words=1024, q_words=256, score_words=8 * CONTEXT, head_words=6)
    return replace(found, config=replace(found.config, watchdog=4000, item_words=24, **sizes))


@cache
def simulator(kind: str) -> Simulator:
    return build(machine(kind).config, "arc")


@dataclass
class Case:
    """A random model on one of the machines."""

    hardware: Hardware
    kind: str

    def accelerator(self, image: np.ndarray | None = None, **options: Any) -> Accelerator:
        image = self.hardware.image if image is None else image
        return Accelerator(self.hardware.plan.config, simulator(self.kind), image, **options)

    def golden(self, prompt: list[int], tokens: int) -> list[int]:
        """The golden model's greedy tokens."""
        session = GoldenSession(self.hardware.program, self.hardware.tensors)
        made: list[int] = []
        for _ in range(tokens):
            logits = session.forward(made[-1:] or prompt)
            made.append(int(np.argmax(logits[-1])))
        return made


@cache
def case(scheme: Scheme = EXACT, row_source: str = "", **shape: Any) -> Case:
    model = random_of(scheme, **shape)
    if row_source == "stored_table":
        for linear in model.linears.values():
            linear.tables = interpreter.make_tables(linear)
    return on_machine(model, "any" if scheme.kind == "vq" else "exact", row_source)


def on_machine(model: QuantizedModel, kind: str, row_source: str = "") -> Case:
    program = model.lut()
    module = copy_of(program)
    with module.context, ir.Location.unknown(), after(module.body, "lut.scheme"):
        write_machine(machine(kind), memories=MEMORIES)
    run_pipeline(module, pipelines.to_scheduled("tiny", row_source), passes=PASSES)
    assert read_machine(module.operation) == machine(kind)
    return Case(Hardware(program, module, model.tensors, whole_image(module, model.tensors)), kind)


def prompt_of(length: int, seed: int = 0) -> list[int]:
    return [int(i) for i in np.random.default_rng([seed, length]).integers(0, VOCABULARY, length)]


def check(made: Case, prompt: list[int], tokens: int, **options: Any) -> AcceleratorRun:
    run = made.accelerator(**options).generate(prompt, tokens).check()
    assert run.tokens == made.golden(prompt, tokens)
    assert len(run.token_cycles) == tokens and run.token_cycles == sorted(run.token_cycles)
    return run


@pytest.mark.parametrize("length", [1, 7, 64])
@pytest.mark.parametrize("shape", [LLAMA, QWEN3], ids=["llama", "qwen3"])
def test_prompts_of_any_length_and_sixteen_tokens(shape: dict[str, Any], length: int) -> None:
    check(case(**shape), prompt_of(length), 16)


@pytest.mark.parametrize(
    "shape",
    [
        dict(heads=2, kv_heads=2, head_dim=12),
        dict(heads=4, kv_heads=2, head_dim=16),
        dict(heads=3, kv_heads=1, head_dim=10, hidden=40, intermediate=44),
        dict(heads=8, kv_heads=1, head_dim=6, qk_norm=True, layers=1),
        dict(heads=6, kv_heads=3, head_dim=8, hidden=50, intermediate=34, qk_norm=True, layers=3),
    ],
    ids=["ratio1", "ratio2", "ratio3", "ratio8", "odd-sizes"],
)
def test_shapes(shape: dict[str, Any]) -> None:
    check(case(**shape), prompt_of(6), 4)


@pytest.mark.parametrize("scheme", [EXACT.with_(R=1), EXACT.with_(R=3, G=16)], ids=["R1", "R3-blocks"])
def test_stages_and_blocks(scheme: Scheme) -> None:
    check(case(scheme, head_dim=16), prompt_of(5), 3)


@pytest.mark.parametrize("source", [mode for mode in MODES if mode != "exact_row"])
def test_searched_rows_of_any_source(source: str) -> None:
    made = case(ADDITIVE.with_(table_bits=10), source)
    assert {r.row_source for r in made.hardware.plan.rounds.values()} == {source}
    check(made, prompt_of(5), 3)


def test_schemes_mixed_in_one_model() -> None:
    check(on_machine(mixed(), "any"), prompt_of(5), 3)


@pytest.mark.parametrize("latency", [1, 17, 500])
def test_memory_latency_changes_cycles_only(latency: int) -> None:
    check(case(), prompt_of(5), 2, timing=AxiTiming(latency=latency))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_back_pressure_on_every_channel(seed: int) -> None:
    timing = AxiTiming(latency=20, outstanding=3, stall_address=90, stall_data=120, stall_response=100)
    check(case(**QWEN3), prompt_of(6), 2, timing=timing, seed=seed)


def test_an_image_anywhere_in_memory() -> None:
    check(case(), prompt_of(5), 2, base=0x3_4000_0000)


def test_a_sequence_goes_on() -> None:
    made = case()
    prompt = prompt_of(9)
    whole = made.golden(prompt, 5)
    accelerator = made.accelerator()
    first = accelerator.generate(prompt, 2).check()
    second = accelerator.generate(first.tokens[-1:], 3, position=len(prompt) + 1).check()
    assert first.tokens + second.tokens == whole


def test_another_prompt_after_the_first() -> None:
    made = case()
    accelerator = made.accelerator()
    for length in (11, 4, 7):
        assert accelerator.generate(prompt_of(length), 2).check().tokens == made.golden(prompt_of(length), 2)


def test_a_stop_token_ends_a_run() -> None:
    made = case()
    want = made.golden(prompt_of(7), 6)
    stop = want[2]
    run = made.accelerator().generate(prompt_of(7), 6, stops={VOCABULARY, stop, VOCABULARY + 1}).check()
    assert run.tokens == want[: want.index(stop) + 1]


def test_reset_in_mid_run() -> None:
    made = case()
    for cycles in (300, 3000, 11111):
        accelerator = made.accelerator()
        accelerator.host.prompt(prompt_of(9))
        accelerator.start(9, 3, max_cycles=cycles)
        accelerator.reset()
        assert accelerator.generate(prompt_of(7), 2).check().tokens == made.golden(prompt_of(7), 2)


def test_a_full_context_keeps_what_was_made() -> None:
    made = case()
    prompt = prompt_of(CONTEXT - 2)
    run = made.accelerator().generate(prompt, 9)
    assert run.error == "context" and run.tokens == made.golden(prompt, 3)


def fault(**asked: Any) -> AcceleratorRun:
    accelerator = case().accelerator()
    accelerator.host.prompt(asked.pop("ids", prompt_of(5)))
    return accelerator.start(**({"length": 5, "tokens": 1} | asked))


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (dict(length=CONTEXT + 1), "prompt"),
        (dict(length=0), "prompt"),
        (dict(position=5), "prompt"),
        (dict(model=1), "model"),
        (dict(ids=[1, 2, VOCABULARY, 3, 4]), "token"),
    ],
)
def test_what_the_host_gets_wrong(asked: dict[str, Any], error: str) -> None:
    run = fault(**asked)
    assert run.error == error and run.tokens == []
    with pytest.raises(SimulationError, match=error):
        run.check()


def test_an_image_for_another_accelerator() -> None:
    image = case().hardware.image.copy()
    image[16] ^= 1
    image[72:74] = list(crc_hqx(image[:72].tobytes(), 0).to_bytes(2, "big"))
    assert case().accelerator(image).generate(prompt_of(5), 1).error == "config"


@pytest.mark.parametrize("program", ["prefill", "decode", "head"])
def test_a_damaged_task(program: str) -> None:
    made = case()
    region = made.hardware.plan.regions[list_region(program)]
    image = made.hardware.image.copy()
    image[region.address + region.size // 2] ^= 4
    run = made.accelerator(image).generate(prompt_of(5), 2)
    assert run.error == "task"
    assert run.tokens == []


@pytest.mark.parametrize(
    ("kind", "error"), [("p", "memory_read"), ("w", "memory_read"), ("e", "memory_read"), ("v", "memory_write")]
)
def test_memory_that_answers_with_an_error(kind: str, error: str) -> None:
    made = case()
    region = next(made.hardware.plan.regions_of(kind))
    fault = (region.address, region.address + region.size)
    assert made.accelerator(fault=fault).generate(prompt_of(5), 1).error == error


def test_the_watchdog_names_what_stands_still() -> None:
    made = case()
    never = AxiTiming(latency=1 << 30)
    accelerator = made.accelerator(timing={"m_axi_k0": never}, watchdog=9000)
    accelerator.host.prompt(prompt_of(5))
    run = accelerator.start(5, 1)
    assert run.watchdog and run.error == "watchdog" and "attention" in run.stalled
    assert run.result.ok  # the interrupt came, though the bus will never be quiet
    assert accelerator.host.read("STATUS") & STATUS_BUSY and accelerator.host.read("ISR") == 0


def test_sizes_of_no_whole_group_of_pairs(tmp_path: Path) -> None:
    """Groups of 16 pairs take four words of memory x: sizes 48 and 80, one and a half of them and two and a half, and
    heads of 12. What lies behind, whatever it is, adds nothing. Arc compiles these pairs once."""
    target = tmp_path / "groups.toml"
    target.write_text(
        'like = "tiny"\nsummary = "wide"\n[engine]\npairs = 16\nweight_ports = 4\n'
        'port_bits = { w = 128, c = 128, q = 64 }\n[sources]\nengine = "the case"\n'
    )
    model = mixed()
    hardware = Hardware.of(model.lut(), model.tensors, target=str(target))
    simulator = build(hardware.plan.config, "arc")
    assert isinstance(simulator, ArcSimulator)
    for seed in (1, 2):
        simulator.randomize(seed)
        answer = hardware.answer(simulator, list(range(3, 24)), 4)
        assert answer.equal, (answer.error, answer.tokens, answer.golden)
    passes = run_passes(21, 4, hardware.plan.config.tokens)
    assert run_cycles(predicted(hardware.plan, passes)) == answer.cycles
