"""The text of a level as ir/ holds it: short lines that read back as the same module."""

import pytest

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.passes import run_pipeline
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.scheme import EXACT, PAPER, Scheme

LONGEST = 160


def program(scheme: Scheme) -> ir.Module:
    """Its names are as long as those of SmolLM2."""
    return random_model(float_decoder(layers=2), scheme.with_(G=16)).lut(32)


def average(lines: list[str]) -> float:
    return sum(map(len, lines)) / len(lines)


@pytest.mark.parametrize("scheme", [EXACT, PAPER], ids=["exact", "paper"])
def test_lines_are_short(scheme: Scheme) -> None:
    """With locations. Of all lines; and of the ops in functions, where linears that search name a codebook besides."""
    lines = dialect.module_text(program(scheme)).splitlines()
    ops = [line for line in lines if '= "lut.' in line]
    assert len(ops) == 148 and "model.layers.1.self_attn.q_proj" in "".join(ops)
    assert average(lines) < LONGEST
    assert average([line for line in ops if "codebook" not in line]) < LONGEST


@pytest.mark.parametrize("pipeline", ["", "lut-decompose"])
@pytest.mark.parametrize("scheme", [EXACT, PAPER], ids=["exact", "paper"])
def test_text_reads_back_as_the_same_module(scheme: Scheme, pipeline: str) -> None:
    module = program(scheme)
    run_pipeline(module, f"builtin.module({pipeline})")
    text = dialect.module_text(module)
    again = ir.Module.parse(text, module.context)
    assert again.operation.get_asm(enable_debug_info=True) == module.operation.get_asm(enable_debug_info=True)
    assert dialect.module_text(again) == text
    encodings = [line for line in text.splitlines() if "#lut.fixed<" in line]
    assert ": i64" not in text and text.count("#lut.fixed<") == len(encodings) == len(set(encodings)) > 10


def test_strings_stay_as_they_are() -> None:
    text = """"lut.region"() {address = 0, bytes = 64, kind = "x", port = 0, sym_name = "r = 3 : i64,",
        source = "#lut.fixed<8 : i64, 3 : i64>"} : () -> ()"""
    module = ir.Module.parse(text, dialect.context())
    shown = dialect.module_text(module)
    assert '"r = 3 : i64,"' in shown and '"#lut.fixed<8 : i64, 3 : i64>"' in shown
    assert "address = 0, bytes = 64," in shown and not shown.startswith("#y")
