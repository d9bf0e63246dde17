"""The whole accelerator in the arc JIT: every token equal to the golden model's, whatever the model and the memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from lutllm import interpreter
from lutllm.decoder import QuantizedDecoder
from lutllm.hardware import build
from lutllm.lowering.accelerator import AcceleratorConfig
from lutllm.lowering.decoder_spec import DecoderSpec
from lutllm.lowering.engine import MODES
from lutllm.lowering.image.whole import whole_image
from lutllm.lowering.plan.data import Plan
from lutllm.lowering.plan.decoder import config_for, plan_decoder
from lutllm.lowering.targets import find_target
from lutllm.quantize.random_decoder import decoder_like, random_decoder
from lutllm.scheme import ADDITIVE, EXACT, Scheme
from lutllm.session import GoldenSession
from lutllm.simulate import AxiTiming, SimulationError, Simulator
from lutllm.simulate.accelerator import Accelerator, AcceleratorRun

CONTEXT = 96
VOCABULARY = 301  # of no multiple of anything
LLAMA: dict[str, Any] = dict(vocabulary=VOCABULARY)
QWEN3: dict[str, Any] = dict(vocabulary=VOCABULARY, qk_norm=True, heads=3, kv_heads=1, head_dim=20, hidden=36)


def base_config(decoder: QuantizedDecoder) -> AcceleratorConfig:
    """One accelerator for every small model with the schemes of `decoder`, so that it is built once."""
    config = config_for(DecoderSpec.of(decoder), find_target("tiny"), CONTEXT)
    sizes = dict(r_words=256, x_words=1024, y_words=1024, q_words=256, score_words=8 * CONTEXT, head_words=6)
    sizes |= dict(item_words=24)
    return replace(config, watchdog=4000, **sizes)


def mixed() -> QuantizedDecoder:
    """A decoder whose linears have different schemes and stages."""

    def scheme(name: str) -> Scheme:
        return ADDITIVE if "mlp" in name else EXACT if "self_attn" in name else EXACT.with_(R=1)

    return random_decoder(decoder_like(**LLAMA), scheme, positions=CONTEXT)


CONFIGS = {
    "exact": base_config(random_decoder(decoder_like(**LLAMA), EXACT, positions=CONTEXT)),
    "any": base_config(mixed()),
}


@cache
def simulator(kind: str) -> Simulator:
    return build(CONFIGS[kind], "arc")


@dataclass
class Case:
    """A random decoder on one of the accelerators."""

    decoder: QuantizedDecoder
    kind: str
    plan: Plan
    image: np.ndarray

    def accelerator(self, image: np.ndarray | None = None, **options: Any) -> Accelerator:
        image = self.image if image is None else image
        return Accelerator(self.plan.config, simulator(self.kind), image, **options)

    def golden(self, prompt: list[int], tokens: int) -> list[int]:
        """The golden model's greedy tokens."""
        session = GoldenSession.of(self.decoder, self.plan.context)
        made: list[int] = []
        for _ in range(tokens):
            logits = session.forward(made[-1:] or prompt)
            made.append(int(np.argmax(logits[-1])))
        return made


@cache
def case(scheme: Scheme = EXACT, row_source: str | None = None, **shape: Any) -> Case:
    decoder = random_decoder(decoder_like(**(LLAMA | shape)), scheme, positions=CONTEXT)
    if row_source == "stored_table":
        for linear in decoder.linears.values():
            linear.tables = interpreter.make_tables(linear)
    return planned(decoder, "any" if scheme.kind == "vq" else "exact", row_source)


def planned(decoder: QuantizedDecoder, kind: str, row_source: str | None = None) -> Case:
    plan = plan_decoder(DecoderSpec.of(decoder), CONFIGS[kind], row_source=row_source)
    return Case(decoder, kind, plan, whole_image(plan, decoder))


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
    check(case(ADDITIVE.with_(table_bits=10), source), prompt_of(5), 3)


def test_schemes_mixed_in_one_model() -> None:
    check(planned(mixed(), "any"), prompt_of(5), 3)


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
    run = made.accelerator().generate(prompt_of(7), 6, stop=stop).check()
    assert run.tokens == want[: want.index(stop) + 1]


def test_reset_in_mid_run() -> None:
    made = case()
    for cycles in (300, 3000, 11111):
        accelerator = made.accelerator()
        accelerator.load(prompt_of(9))
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
    accelerator.load(asked.pop("ids", prompt_of(5)))
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
    image = case().image.copy()
    image[16] ^= 1
    assert case().accelerator(image).generate(prompt_of(5), 1).error == "config"


@pytest.mark.parametrize("program", ["prefill", "decode", "head"])
def test_a_damaged_task(program: str) -> None:
    made = case()
    region = made.plan.regions[program]
    image = made.image.copy()
    image[region.address + region.size // 2] ^= 4
    run = made.accelerator(image).generate(prompt_of(5), 2)
    assert run.error == "task"
    assert run.tokens == []


@pytest.mark.parametrize(
    ("kind", "error"), [("p", "memory_read"), ("w", "memory_read"), ("e", "memory_read"), ("v", "memory_write")]
)
def test_memory_that_answers_with_an_error(kind: str, error: str) -> None:
    made = case()
    region = next(made.plan.regions_of(kind))
    fault = (region.address, region.address + region.size)
    assert made.accelerator(fault=fault).generate(prompt_of(5), 1).error == error


def test_the_watchdog_names_what_stands_still() -> None:
    made = case()
    never = AxiTiming(latency=1 << 40)
    accelerator = made.accelerator(timing={"m_axi_k": never}, watchdog=9000)
    accelerator.load(prompt_of(5))
    run = accelerator.start(5, 1)
    assert run.watchdog and "attention" in run.stalled
    assert not run.result.ok and "m_axi_k" in run.result.message
