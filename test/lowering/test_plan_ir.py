"""A plan as IR: the same after it was written, printed, parsed and read; and what cannot be read is named."""

import re
from pathlib import Path

import pytest

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.dialect import tasks
from lutllm.errors import IRError, LutllmError
from lutllm.lowering import PASSES, accelerator
from lutllm.lowering.decoder_spec import DecoderSpec, read_decoder_spec
from lutllm.lowering.decoder_to_lut import decoder_to_lut
from lutllm.lowering.levels import check_level
from lutllm.lowering.pipelines import to_whole_accelerator
from lutllm.lowering.plan.data import MEMORIES, Plan
from lutllm.lowering.plan.decoder import config_for, plan_decoder
from lutllm.lowering.plan.ir import plan_module, read_plan
from lutllm.lowering.targets import TARGETS
from lutllm.passes import run_pipeline
from lutllm.pretrained import save_pretrained
from lutllm.quantize.float_models import float_decoder
from lutllm.quantize.random_decoder import decoder_like, random_decoder
from lutllm.quantize.random_model import random_model
from lutllm.scheme import EXACT


@pytest.fixture(scope="module")
def plan() -> Plan:
    decoder = decoder_like(layers=1, head_dim=16, heads=4, qk_norm=True)
    spec = DecoderSpec.of(random_decoder(decoder, EXACT.with_(R=1, G=16), positions=32))
    return plan_decoder(spec, config_for(spec, TARGETS["tiny"]), context=30)


@pytest.fixture(scope="module")
def text(plan: Plan) -> str:
    return str(plan_module(plan))


def read(text: str) -> Plan:
    with dialect.context():
        module = ir.Module.parse(text)
        check_level(module, "accelerator")
        return read_plan(module)


def test_a_plan_is_the_same_after_a_trip_through_ir(plan: Plan, text: str) -> None:
    assert read(text) == plan


def test_tasks_carry_the_names_of_pytorch_modules(plan: Plan) -> None:
    module = plan_module(plan)
    op = next(op for op in module.body.operations if op.operation.name == "lut.task")
    assert str(op.location) == 'loc("model.layers.0.self_attn.k_proj")'


@pytest.mark.parametrize("name", ["lut.plan", "lut.accelerator"])
def test_a_module_has_one_plan(text: str, name: str) -> None:
    lines = [line for line in text.splitlines() if f'"{name}"' not in line]
    with pytest.raises(IRError, match=re.escape(f"expected one {name} in the module, got 0; write a plan to it")):
        read("\n".join(lines))


def test_a_broken_plan_is_not_read(text: str) -> None:
    with pytest.raises(IRError, match=r"expected to wait for prefill\.model\.embed_tokens\.load, because of r\.stream"):
        read(text.replace("waits = {residual = 0 : i64}", "waits = {}", 1))


def test_the_dialect_knows_the_engines_of_the_hardware() -> None:
    assert tasks.TASK_ENGINES == accelerator.ENGINES and tasks.TASK_PROGRAMS == accelerator.PROGRAMS
    assert tasks.BUFFER_MEMORIES == MEMORIES
    assert (tasks.WAITS, tasks.MOST_PENDING) == (accelerator.WAIT_SLOTS, accelerator.NO_WAIT - 1)


def test_a_decoders_program_becomes_its_plan(tmp_path: Path) -> None:
    save_pretrained(random_model(float_decoder(layers=2), EXACT, positions=32), tmp_path)
    spec = read_decoder_spec(tmp_path)
    module = decoder_to_lut(spec, 30)
    run_pipeline(module, to_whole_accelerator(str(tmp_path), "tiny", 20), passes=PASSES)
    check_level(module, "accelerator")
    assert read_plan(module) == plan_decoder(spec, config_for(spec, TARGETS["tiny"], 20))


def test_what_does_not_fit_is_said_at_the_linear(tmp_path: Path) -> None:
    save_pretrained(random_model(float_decoder(layers=2), EXACT.with_(G=6), positions=32), tmp_path)
    module = decoder_to_lut(read_decoder_spec(tmp_path))
    message = r"'lut\.linear' op cannot be planned: model\.layers\.0\.self_attn\.q_proj: expected codebook blocks of"
    with pytest.raises(LutllmError, match=message):
        run_pipeline(module, to_whole_accelerator(str(tmp_path), "tiny"), passes=PASSES)
