"""Tables of the vector engines in the arc JIT and in SystemVerilog: the ROM leaf, the reciprocal root, activations."""

import random
from pathlib import Path

import numpy as np
import pytest

from lutllm import functions
from lutllm.lowering.export.hw_to_arc import hw_to_arc
from lutllm.lowering.export.hw_to_sv import hw_to_sv
from lutllm.lowering.hardware.lib.circt import Design
from lutllm.lowering.hardware.lib.functions import H_OFFSET, ROOT_LATENCY, SIGMOID_LATENCY, reciprocal_root, share
from lutllm.lowering.hardware.lib.memory import rom
from lutllm.lowering.hardware.lib.signal import WidthError
from lutllm.simulate import ArcSimulator


def through(top: ArcSimulator, name: str, values: list[int], latency: int, outputs: list[str]) -> list[tuple[int, ...]]:
    """A value a cycle into input `name`; the outputs `latency` cycles later."""
    results = []
    for step in range(len(values) + latency):
        top.poke(name, values[min(step, len(values) - 1)])
        top.evaluate()
        if step >= latency:
            results.append(tuple(top.peek(output) for output in outputs))
        top.cycle()
    return results


@pytest.mark.parametrize("count", [1, 2, 65, 192])
def test_rom_holds_every_entry_and_the_last_one_past_the_end(count: int) -> None:
    rng, design = np.random.default_rng(count), Design("arc")
    values = rng.integers(0, 1 << 40, count).tolist()
    top = ArcSimulator(hw_to_arc(design, rom(design, "rom_test", values, 40)), optimize=0)
    addresses = list(range(1 << top.port("address").bits))
    expected = [(values[min(address, count - 1)],) for address in addresses]
    assert through(top, "address", addresses, 1, ["data"]) == expected


def test_rom_is_a_clocked_case_statement(tmp_path: Path) -> None:
    design = Design("sv")
    hw_to_sv(design, rom(design, "rom_test", [5, 9, 5], 4), tmp_path)
    text = " ".join((tmp_path / "rom_test.sv").read_text().split())
    assert "case (address) 2'b00: entry <= 4'h5; 2'b01: entry <= 4'h9; default: entry <= 4'h5; endcase" in text


def test_rom_refuses_what_does_not_fit() -> None:
    with pytest.raises(WidthError, match=r"ROM rom_test: expected values of 3 bits, got 1\.\.8"):
        rom(Design("arc"), "rom_test", [1, 8], 3)


def test_reciprocal_root_of_every_length() -> None:
    """Powers of two and their neighbours, both ends of table entries, random arguments of every length to 63 bits."""
    design, draw = Design("arc"), random.Random(1)
    top = ArcSimulator(hw_to_arc(design, reciprocal_root(design)), optimize=0)
    top.randomize(3)
    arguments = [value for n in range(63) for value in (1 << n, (1 << n) + 1, (2 << n) - 1) if value >> 63 == 0]
    arguments += [(i << 8 | low) << shift for i in range(64, 256, 7) for low in (0, 255) for shift in (0, 1, 46)]
    arguments += [draw.getrandbits(n) | 1 << (n - 1) for n in range(1, 64) for _ in range(20)]
    r, h = functions.rsqrt(np.array(arguments))
    expected = list(zip(r.tolist(), (h + H_OFFSET).tolist(), strict=True))
    assert through(top, "a", arguments, ROOT_LATENCY, ["r", "h"]) == expected


@pytest.mark.parametrize("activations", [("silu",), ("gelu",), ("relu", "gelu_tanh", "silu")], ids="+".join)
def test_activations_of_a_tenth_of_all_arguments(activations: tuple[str, ...]) -> None:
    design = Design("arc")
    top = ArcSimulator(hw_to_arc(design, share(design, activations)), optimize=0)
    top.randomize(3)
    arguments = [*range(0, 1 << 16, 11), *range(300), functions.SIGMOID_END]
    for number, activation in enumerate(activations):
        if len(activations) > 1:
            top.poke("activation", number)
        expected = [(value,) for value in functions.share(np.array(arguments), activation).tolist()]
        assert through(top, "a", arguments, SIGMOID_LATENCY, ["s"]) == expected
