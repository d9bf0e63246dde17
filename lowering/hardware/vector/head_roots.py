"""The first pass of a head's norm: rows of words of memory y in, 1 / sqrt of each row's sum of squares out."""

from lutllm.lowering.hardware.lib.circt import Design, Fields, Module, Signal, const, delay, mux, pack
from lutllm.lowering.hardware.lib.memory import buffered
from lutllm.lowering.hardware.lib.reciprocal_root import A_BITS, H_BITS, R_BITS, ROOT_LATENCY, reciprocal_root
from lutllm.lowering.machine.accelerator import AcceleratorConfig

ROOT = Fields(r=R_BITS, h=H_BITS)
ROOTS_DEPTH = 16  # rows under way; one of a single word takes 2 cycles, and its root about 20
_FAN_IN = 4  # terms added between registers
# The verifier of lut.rms_norm holds a sum of squares to 62 bits, as epsilon: their sum fits A_BITS.
_SUM_BITS = 62


def head_roots(design: Design, config: AcceleratorConfig) -> str:
    """`step`: memory y is read in this cycle, with `first` and `last` of a row; `data` comes a cycle later. `epsilon`
    is steady. Stream out: `root`, r and h of each row (as `reciprocal_root`). The rows under way, from their first step
    until their root is taken, must not exceed `roots_depth`."""
    root = reciprocal_root(design)

    def body(m: Module) -> dict[str, Signal]:
        x = m.reg(m["data"], "x").chunks(config.y_bits)
        total, late = _squares(m, config, x)
        tag = delay(m, pack([m["step"], m["first"], m["last"]]), 2 + late, "tag", reset=0)
        step, first, last = tag[0], tag[1], tag[2]
        sums = m.state(_SUM_BITS, "sums")
        sums.set(mux(first, const(0, _SUM_BITS), sums.signal) + total, step)
        whole = m.reg(step & last, "whole", reset=0)
        # The largest of this and 1 is wanted; where it is 0 so is every x, and what any root makes of it.
        a = m.reg(sums.signal.zext(A_BITS) + m["epsilon"][0:A_BITS], "a")
        found = m.instance(root, "root", a=a)
        valid = delay(m, whole, 1 + ROOT_LATENCY, "valid", reset=0)
        out, _ = buffered(m, "roots", valid, ROOT.pack(**found), roots_depth(config))
        out.ready.assign(m["root_ready"])
        return dict(root_valid=out.valid, root_data=out.data)

    inputs = {"step": 1, "first": 1, "last": 1, "data": config.word_bits("y"), "epsilon": 64, "root_ready": 1}
    return design.module("head_roots", inputs, {"root_valid": 1, "root_data": ROOT.width}, body)


def roots_depth(config: AcceleratorConfig) -> int:
    return config.depths.get("roots", ROOTS_DEPTH)


def root_latency(config: AcceleratorConfig) -> int:
    """Cycles from the step of a row's last word until its root is there."""
    levels = 0
    while _FAN_IN**levels < config.lanes:
        levels += 1
    return 7 + levels + ROOT_LATENCY


def _squares(m: Module, config: AcceleratorConfig, x: list[Signal]) -> tuple[Signal, int]:
    """The sum of the squares of a word's channels, and after how many cycles it comes."""
    # A square is at most 2**(2 * y_bits - 2); what exceeds _SUM_BITS is 0 by the verifier.
    square_bits = 2 * config.y_bits
    bits = min(_SUM_BITS, square_bits - 1 + (config.lanes - 1).bit_length())
    wide = [channel.sext(square_bits) for channel in x]
    squares = [delay(m, each * each, 2, f"square_{i}") for i, each in enumerate(wide)]
    terms = [s.zext(max(bits, square_bits))[0:bits] for s in squares]
    cycles = 2
    while len(terms) > 1:
        groups = [terms[i : i + _FAN_IN] for i in range(0, len(terms), _FAN_IN)]
        terms = [m.reg(_total(group), "partial") for group in groups]
        cycles += 1
    return terms[0].zext(_SUM_BITS), cycles


def _total(terms: list[Signal]) -> Signal:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
