"""Which engines an accelerator may have, and what it then has: each message names what is missing."""

from __future__ import annotations

import re

import pytest

from lutllm.errors import CapacityError
from lutllm.lowering.hardware.accelerator_to_hw import ACCELERATOR_TOP, accelerator_to_hw
from lutllm.lowering.hardware.control.register_map import register_table
from lutllm.lowering.hardware.control.register_page import register_page
from lutllm.lowering.machine.accelerator import DECODER_ENGINES, ENGINES, AcceleratorConfig
from lutllm.lowering.machine.targets import find_target

LINEARS = ("linear", "feed", "load", "save")


@pytest.mark.parametrize(
    ("engines", "message"),
    [
        (("feed", "load", "save"), r"expected an engine for LutLinear \(linear\), got feed, load, save; add one"),
        (("linear", "load", "save"), "expected an engine for stream x"),
        (("linear", "feed", "load"), "expected an engine for stream y"),
        (("linear", "feed", "save"), r"expected an engine for writes of memory x \(norm, swiglu, attention, load\)"),
        (("linear", "feed", "norm", "save"), "expected an engine for writes of memory r"),
        (("linear", "feed", "store", "load", "save"), r"expected an engine for reads of memory y \(swiglu, heads\)"),
        (("linear", "feed", "store", "heads", "load"), "expected an engine for reads of memory q"),
        (("linear", "feed", "embed", "load", "save"), "expected an engine for stream e"),
    ],
)  # fmt: skip
def test_engines_that_do_not_fit_together(engines: tuple[str, ...], message: str) -> None:
    with pytest.raises(CapacityError, match=message):
        AcceleratorConfig(engines=engines)


def test_masters_are_those_of_the_engines() -> None:
    linears, whole = AcceleratorConfig(engines=LINEARS), AcceleratorConfig(engines=ENGINES)
    assert linears.read_ports == {"d": 64, "c": 512, "q": 512, "w0": 512, "x": 16 * 16}
    assert linears.write_ports == {"y": 16 * 32}
    assert set(whole.read_ports) - set(linears.read_ports) == {"p", "e", "k0", "v0"}
    assert set(whole.write_ports) == {"kv", "y"}
    assert AcceleratorConfig().engines == DECODER_ENGINES and not {"x", "y"} & set(AcceleratorConfig().read_ports)


def test_engines_are_part_of_what_an_image_is_made_for() -> None:
    assert len({AcceleratorConfig(engines=e).identity for e in (LINEARS, DECODER_ENGINES, ENGINES)}) == 3


def test_without_tokens_there_is_no_window_for_them() -> None:
    linears, whole = AcceleratorConfig(engines=LINEARS), AcceleratorConfig()
    assert "token i" in register_table(whole) and "token i" not in register_table(linears)
    page = register_page(linears)
    assert "| 3 | save |" in page and "TOKENS is 0" in page and "Read MADE" not in page


def test_accelerators_of_two_configurations_share_no_name_but_the_top() -> None:
    """So that both may be in one design, the top of one under another name."""
    engine = find_target("tiny").engine
    configs = [AcceleratorConfig(engine, head_lanes=8, kv_bits=64, context=context) for context in (64, 65)]
    names = [set(re.findall(r"hw\.module @(\w+)", accelerator_to_hw(config, "sv").text())) for config in configs]
    assert names[0] & names[1] == {ACCELERATOR_TOP} and len(names[0]) == len(names[1]) > 50
