"""What models ask of engines beside what a Llama does, each on a machine made for it: tokens are the golden model's, in
hardware and task by task, in the cycles that were predicted; and what a machine must have for it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lutllm import dialect
from lutllm.accelerator.hardware import PASSES, Hardware, build
from lutllm.bindings import ir
from lutllm.cost.predicted import predicted, run_cycles
from lutllm.dialect.machines.limits import MODES
from lutllm.diff import compare_golden, compare_hardware, record
from lutllm.errors import LutllmError
from lutllm.lowering import pipelines
from lutllm.lowering.export.hw_to_sv import hw_to_sv
from lutllm.lowering.export.image.whole import whole_image
from lutllm.lowering.hardware.accelerator_to_hw import ACCELERATOR_TOP, accelerator_to_hw
from lutllm.lowering.place.clusters import clusters_of
from lutllm.lowering.place.form import placed_functions
from lutllm.lowering.schedule.read import read_plan
from lutllm.passes import run_pipeline
from lutllm.quantizer.random.float_models import LayerShape, float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.scheme import EXACT
from lutllm.simulate import AxiTiming, Simulator
from lutllm.simulate.transactions.passes import run_passes
from lutllm.simulate.transactions.records import named_records
from lutllm.simulate.transactions.simulator import TransactionSimulator

CONTEXT = 48
KINDS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {  # the modes that it asks for, and its shape
    "gelu": (("gelu_tanh",), dict(activation="gelu_tanh")),
    "several activations": (
        ("silu", "gelu", "relu"),
        dict(layers=[LayerShape(activation=name) for name in ("relu", "silu", "gelu")]),
    ),
    "window": (("window",), dict(window=5)),
    "windows of some layers": (
        ("window",),
        dict(layers=[LayerShape(window=window, qk_norm=True) for window in (7, None, 1)]),
    ),
    "norms after": (("norm_after",), dict(norms_after=True)),
    "plain MLPs": (
        ("silu", "gelu", "plain_mlp"),
        dict(layers=[LayerShape(plain=plain, activation=name) for plain, name in ((True, "gelu"), (False, "silu"))]),
    ),
    "layer norm": (("layer_norm",), dict(layer_norm=True, hidden=44)),
    "layer norms, of some layers after": (
        ("norm_after", "layer_norm"),
        dict(layers=[LayerShape(layer_norm=layer, norms_after=True) for layer in (True, False)], hidden=20),
    ),
    "branches of a layer side by side": (
        ("silu", "gelu", "plain_mlp", "layer_norm"),
        dict(
            layers=[
                LayerShape(parallel=True, layer_norm=True, plain=plain, activation=name)
                for plain, name in ((True, "gelu"), (False, "silu"))
            ]
        ),
    ),
    "learned positions": (("positions",), dict(positions=(CONTEXT + 2, 2))),
    "learned positions, norms after": (
        ("norm_after", "positions"),
        dict(positions=(CONTEXT, 0), norms_after=True, layers=1),
    ),
    "heads that words of attention do not divide": ((), dict(heads=8, kv_heads=4, head_dim=18)),
    "fused linears, half of heads rotated": ((), dict(fused=True, rotated=6)),
    "no norms before": (("norm_after", "no_norm"), dict(norms_before=False, norms_after=True)),
    "norms before and none, one of all heads and of each": (
        ("no_norm", "wide_norm"),
        dict(layers=[LayerShape(norms_before=wide, wide_norm=wide, qk_norm=True) for wide in (True, False)]),
    ),
    "olmo2": (
        ("norm_after", "no_norm", "wide_norm"),
        dict(norms_before=False, norms_after=True, wide_norm=True),
    ),
    "soft-caps of scores": (("softcap",), dict(softcap=1.5)),
    "soft-caps of some layers": (
        ("window", "softcap"),
        dict(layers=[LayerShape(softcap=softcap, window=window) for softcap, window in ((2.0, 6), (None, None))]),
    ),
    "soft-cap of logits": (("logit_softcap",), dict(logit_softcap=3.0)),
    "soft-cap that makes logits equal": (("logit_softcap",), dict(logit_softcap=3.0)),
    "gemma3": (
        ("gelu_tanh", "window", "norm_after"),
        dict(
            layers=[
                LayerShape(norms_after=True, activation="gelu_tanh", qk_norm=True, window=window)
                for window in (6, None, 6)
            ]
        ),
    ),
}


@cache
def made(kind: str, target: str) -> tuple[Hardware, Simulator]:
    modes, shape = KINDS[kind]
    model = random_model(float_decoder(**shape), EXACT.with_(R=1), positions=CONTEXT)
    if "equal" in kind:  # around 32 a hyperbolic tangent is 1
        model.linears["lm_head"].out_exponent += 5
    hardware = Hardware.of(model.lut(CONTEXT), model.tensors, target=target)
    assert hardware.plan.config.modes == modes
    return hardware, build(hardware.plan.config, "arc")


def check_cycles(hardware: Hardware, simulator: Simulator, prompt: int, tokens: int) -> tuple[list[int], list[int]]:
    """Tokens are the golden model's, and each task runs when it was predicted; (prompt, tokens)."""
    plan, latency = hardware.plan, 30
    ids = [i * 11 % plan.vocabulary for i in range(prompt)]
    answer = hardware.answer(simulator, ids, tokens, timing=AxiTiming(latency=latency, outstanding=256))
    assert answer.error == "none" and len(answer.tokens) == tokens
    assert answer.tokens == answer.golden
    run, passes = answer.run, run_passes(prompt, tokens, plan.config.tokens)
    begin = run.result.cycles - run.cycles
    wanted = predicted(plan, passes, latency, begin)
    assert wanted == named_records(plan, passes, [(s.engine, s.dispatched, s.done) for s in run.spans], begin)
    assert run_cycles(wanted) == run.cycles
    return ids, answer.golden


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_and_cycles(kind: str) -> None:
    hardware, simulator = made(kind, "tiny")
    for prompt, tokens in ((17, 4), (3, 1)):
        ids, golden = check_cycles(hardware, simulator, prompt, tokens)
    for late in (False, True):
        tasks = TransactionSimulator.of(hardware.module, hardware.tensors, hardware.image, late=late)
        assert tasks.generate(ids, tokens).tokens == golden


@pytest.mark.parametrize("kind", KINDS)
def test_a_machine_without_a_mode_is_an_error_where_it_is_needed(kind: str) -> None:
    hardware, _ = made(kind, "tiny")
    if not hardware.plan.config.modes:
        pytest.skip("it needs none")
    mode = hardware.plan.config.modes[-1]
    text = dialect.module_text(hardware.module)
    text = re.sub(f'(, )?"{mode}"', "", text, count=1)
    with hardware.module.context, pytest.raises(LutllmError, match=f"expected a machine with mode '{mode}', got"):
        read_plan(ir.Module.parse(text))


def test_a_table_of_positions_has_a_row_for_each() -> None:
    hardware, _ = made("learned positions", "tiny")
    text = dialect.module_text(hardware.module).replace("offset = 2", "offset = 3")
    with hardware.module.context, pytest.raises(LutllmError, match=f"a row for each of {CONTEXT} positions, got 47"):
        run_pipeline(ir.Module.parse(text), "builtin.module(lut-verify-schedule)", passes=PASSES)


def test_slices_are_of_whole_codebook_blocks() -> None:
    model = random_model(float_decoder(fused=True, layers=1), EXACT.with_(R=1, G=64), positions=CONTEXT)
    with pytest.raises(LutllmError, match="expected slices of whole codebook blocks of 64 outputs, got a part of that"):
        Hardware.of(model.lut(CONTEXT), model.tensors, target="tiny")


def test_parameters_come_in_the_order_of_tasks() -> None:
    """Where swiglu's task goes out before those of heads, these wait for their parameters behind it."""
    model = random_model(float_decoder(layers=1, parallel=True, plain=True), EXACT.with_(R=1), positions=CONTEXT)
    module = model.lut(CONTEXT)
    run_pipeline(module, pipelines.joined(pipelines.to_steps(), pipelines.to_placed("tiny")), passes=PASSES)
    for function in placed_functions(module.operation).values():
        clusters = clusters_of(function)
        for cluster in (c for c in clusters if ".mlp.up_proj" in c.label):
            first = next(c for c in clusters if c.last == "heads")
            cluster.op.operation.move_before(first.op.operation)
    run_pipeline(module, f"builtin.module(lut-allocate,{','.join(pipelines.TIMES)})", passes=PASSES)
    hardware = Hardware(model.lut(CONTEXT), module, model.tensors, whole_image(module, model.tensors))
    check_cycles(hardware, build(hardware.plan.config, "arc"), 17, 4)


@pytest.mark.parametrize(
    ("shape", "edit", "message"),
    [
        (
            dict(logit_softcap=3.0),
            (r"(lut.tanh.*shift = )\d+", r"\g<1>45"),
            r"'lut.tanh' op expected each step of tanh to be another logit, as engine pick compares steps, got 24576",
        ),
        (
            dict(qk_norm=True),
            (r"(groups = 2)", r"\1, centered"),
            "'lut.rms_norm' op expected no centered, for no engine",
        ),
    ],
)
def test_what_engines_do_not_do_is_refused(shape: dict[str, Any], edit: tuple[str, str], message: str) -> None:
    model = random_model(float_decoder(layers=1, **shape), EXACT.with_(R=1), positions=CONTEXT)
    text, edited = re.subn(*edit, dialect.module_text(model.lut(CONTEXT)))
    assert edited
    with dialect.context(), pytest.raises(LutllmError, match=message):
        Hardware.of(ir.Module.parse(text), model.tensors, target="tiny")


@pytest.mark.skipif(shutil.which("verilator") is None, reason="verilator is not installed")
def test_lint_of_all_modes_is_clean(tmp_path: Path) -> None:
    plain = made("windows of some layers", "tiny")[0].plan.config
    config = replace(plain, modes=MODES, attention_rows=2, attention_ports=2)
    hw_to_sv(accelerator_to_hw(config, "sv"), ACCELERATOR_TOP, tmp_path)
    command = ["verilator", "--lint-only", "-Wall", "lint.vlt", "-F", "filelist.f", "--top-module", ACCELERATOR_TOP]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_rows_out_of_a_window_cost_no_cycles() -> None:
    spans: dict[str, list[int]] = {}
    for kind, shape in {"all": {}, "window": dict(window=5)}.items():
        model = random_model(float_decoder(layers=1, **shape), EXACT.with_(R=1), positions=CONTEXT)
        plan = Hardware.of(model.lut(CONTEXT), model.tensors, target="tiny").plan
        found = predicted(plan, run_passes(37, 8, plan.config.tokens))
        spans[kind] = [each.end - each.start for each in found if each.engine == "attention"][-7:]
    assert max(spans["window"]) < min(spans["all"])
    assert max(spans["window"]) - min(spans["window"]) < 8 < spans["all"][-1] - spans["all"][0]


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_of_every_task(kind: str) -> None:
    hardware, simulator = made(kind, "tiny")
    recorded = record(hardware.module, hardware.tensors, [5, 3, 9, 22, 7], 2)
    assert compare_golden(recorded).equal
    assert compare_hardware(recorded, simulator, recorded.image).equal
