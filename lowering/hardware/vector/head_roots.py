"""The first pass of a head's norm: rows of words of memory y in, 1 / sqrt of each row's sum of squares out."""

from typing import Any

from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.functions import H_BITS, R_BITS, ROOT_BITS, ROOT_LATENCY, reciprocal_root
from lutllm.lowering.hardware.lib.memory import stored
from lutllm.lowering.hardware.lib.signal import Signal, aligned, const, mux
from lutllm.lowering.hardware.lib.stream import FIFO_LATENCY, Stream
from lutllm.lowering.machine.accelerator import AcceleratorConfig

ROOT_ROW_BITS = R_BITS + H_BITS
ROOTS_DEPTH = 16  # rows under way; one of a single word takes 2 cycles, and its root about 20
_FAN_IN = 4  # terms added between registers
# The verifier of lut.rms_norm holds a sum of squares to 62 bits, as epsilon: their sum fits ROOT_BITS.
_SUM_BITS = 62


def head_roots(design: Design, config: AcceleratorConfig) -> str:
    """`step`: memory y is read in this cycle, with `first` and `last` of a row; `data` comes a cycle later. `epsilon`
    is steady. Stream out: `root`, r and h of each row (as `reciprocal_root`). The rows under way, from their first step
    until their root is taken, must not exceed `roots_depth`. In mode wide_norm words of the rows of several tokens may
    come in turn: `token` says of which.
    """
    root, wide = reciprocal_root(design), "wide_norm" in config.modes

    def body(m: Module) -> dict[str, Any]:
        words, sums_ = m.pipeline(), m.pipeline()
        x = m.reg(words.at(m["data"], 1), "x").chunks(config.y_bits)
        total = _squares(m, config, x)
        step, first, last = (words.valid(m[name]) for name in ("step", "first", "last"))
        step, first, last, squares = (signal.plain() for signal in aligned(step, first, last, total))
        if wide:
            token, before = words.at(m["token"]).until(total.cycle).plain(), Wire(_SUM_BITS)
            sum_ = mux(first, const(0, _SUM_BITS), before.signal) + squares
            before.assign(stored(m, "sums", config.tokens, write=(step, token, sum_), read=token))
            row = m.reg(sum_, "row")
        else:
            sums = m.state(_SUM_BITS, "sums")
            row = sums.set(mux(first, const(0, _SUM_BITS), sums.signal) + squares, step)
        whole = sums_.valid(m.reg(step & last, "whole", reset=0))
        # The largest of this and 1 is wanted; where it is 0 so is every x, and what any root makes of it.
        a = m.reg(sums_.at(row.zext(ROOT_BITS) + m["epsilon"][0:ROOT_BITS]), "a")
        found = m.instance(root, "root", a=a)
        found["r"].due(root_latency(config) - FIFO_LATENCY - 1 - total.cycle)
        return dict(root=Stream(whole, **found).fifo(m, "roots", roots_depth(config)))

    inputs = {"step": 1, "first": 1, "last": 1, "data": config.word_bits("y"), "epsilon": 64}
    inputs |= {"token": config.token_bits} if wide else {}
    return design.module("head_roots", inputs, {"root": Stream.of(r=R_BITS, h=H_BITS)}, body)


def roots_depth(config: AcceleratorConfig) -> int:
    return config.depths.get("roots", ROOTS_DEPTH)


def root_latency(config: AcceleratorConfig) -> int:
    """Cycles from the step of a row's last word until its root is there."""
    levels = 0
    while _FAN_IN**levels < config.lanes:
        levels += 1
    return 7 + levels + ROOT_LATENCY


def _squares(m: Module, config: AcceleratorConfig, x: list[Signal]) -> Signal:
    """The sum of the squares of a word's channels."""
    # A square is at most 2**(2 * y_bits - 2); what exceeds _SUM_BITS is 0 by the verifier.
    square_bits = 2 * config.y_bits
    bits = min(_SUM_BITS, square_bits - 1 + (config.lanes - 1).bit_length())
    wide = [channel.sext(square_bits) for channel in x]
    squares = [m.reg(each * each, f"square_{i}", cycles=2) for i, each in enumerate(wide)]
    terms = [s.zext(max(bits, square_bits))[0:bits] for s in squares]
    while len(terms) > 1:
        groups = [terms[i : i + _FAN_IN] for i in range(0, len(terms), _FAN_IN)]
        terms = [m.reg(_total(group), "partial") for group in groups]
    return terms[0].zext(_SUM_BITS)


def _total(terms: list[Signal]) -> Signal:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
