"""Engine norm: RMSNorm of the residual stream in memory r, to memory x at the exponents of the linear that reads it."""

from typing import Any

from lutllm.lowering.hardware.control.records import reads, task_port, writes
from lutllm.lowering.hardware.control.task import Steps, TaskFields, Timing, stepped_task, token_count
from lutllm.lowering.hardware.lib.arithmetic import clamped, largest, rescaled_later, rounded_later, saturated
from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.functions import H_BITS, R_BITS, ROOT_BITS, ROOT_LATENCY, reciprocal_root
from lutllm.lowering.hardware.lib.memory import stored
from lutllm.lowering.hardware.lib.signal import Signal, const, mux, pack
from lutllm.lowering.hardware.lib.state import Levels, early, loop_nest
from lutllm.lowering.hardware.lib.stream import Read, Stream, Write
from lutllm.lowering.hardware.vector.residual import SUM_BITS, squares_port
from lutllm.lowering.machine.accelerator import RIGHT_BITS, VALUE_BITS, X_BITS, AcceleratorConfig
from lutllm.quantization import NORM_BITS, RESIDUAL_BITS

Z_BITS = 24  # |z| < 2**22 + 2**8
TIMING = Timing(first=ROOT_LATENCY + 1, last=13, rows=1)


def norm(design: Design, config: AcceleratorConfig) -> str:
    """Streams in: `task`, `p` ({gain, right} of a vector word). Reads the sums of squares, memory r, writes memory x.

    First the scale of every token, a cycle each, then the words, in each the tokens. With `last`: only the last token.
    """
    lane = norm_lane(design)

    def levels(f: TaskFields) -> Levels:
        return [("word", f["words"]), ("token", _rows(config, f))]

    def body(m: Module) -> dict[str, Any]:
        scaled, p = Wire(1), m["p"]
        task = stepped_task(m, config, "norm", levels, p.valid, after=scaled.signal, latency=TIMING.last)
        f, at = task.fields, task.pipe.at
        p.drive(ready=task.fire & task.last["token"])
        read = Read(at(_read_address(m, task, config.address_bits("r"))), config.word_bits("r"), task.step)
        scale, squares = _scales(m, config, task, scaled)
        parameters = m.reg(at(p.data), "parameters", enable=task.step).chunks(VALUE_BITS + RIGHT_BITS)
        shared = dict(r=scale[0:R_BITS], h=scale[R_BITS:], shift=f["shift"])
        shared |= dict(high=m.reg(largest(f["bits"], X_BITS), "high"))
        results = []
        for i, x in enumerate(read.data.chunks(RESIDUAL_BITS)):
            gain, right = parameters[i][0:VALUE_BITS], parameters[i][VALUE_BITS:]
            results.append(m.output_of(lane, f"lane_{i}", x=x, gain=gain, right=right, **shared))
        bits = config.address_bits("x")
        write = Write(task.step, at(f["base"][0:bits] + task.offset[0:bits]), pack(results))
        task.ends(write.enable)
        return dict(squares_read=squares, r_read=read, x_write=write, done=task.done)

    outputs = {"squares_read": squares_port(config), "r_read": reads(config, "r"), "x_write": writes(config, "x")}
    return design.module(
        "norm", {"task": task_port(config, "norm"), "p": Stream.of(config.p_bits)}, outputs | {"done": 1}, body
    )


def norm_lane(design: Design) -> str:
    """A channel: `x` of the row, `r` and `h` of its root, `gain` and `right` of the channel."""

    def body(m: Module) -> dict[str, Signal]:
        bits = RESIDUAL_BITS + R_BITS + 1
        x, r = m.reg(m["x"], "x_q").sext(bits), m["r"].zext(bits)
        product = m.reg(x * r, "product", cycles=2)
        # rescale by -(9 + h), where 9 + h is -6 .. 25: to the left by 6, then to the right by 15 + h.
        z = rounded_later(m, pack([const(0, 6), product]), m["h"], "z_shifted")
        z = m.reg(z[0:Z_BITS], "z").sext(Z_BITS + VALUE_BITS)
        weighted = m.reg(z * m["gain"].sext(Z_BITS + VALUE_BITS), "weighted", cycles=2)
        n = m.reg(saturated(rounded_later(m, weighted, m["shift"], "n_shifted"), NORM_BITS), "n")
        result = clamped(rescaled_later(m, n, m["right"], "result_shifted"), m["high"])
        return dict(result=m.reg(result, "result_q"))

    inputs = {"x": RESIDUAL_BITS, "r": R_BITS, "h": H_BITS, "gain": VALUE_BITS, "right": RIGHT_BITS}
    inputs |= {"shift": 8, "high": X_BITS}
    return design.pipeline("norm_lane", inputs, {"result": X_BITS}, body, steady=("shift", "high"))


def _rows(config: AcceleratorConfig, f: TaskFields) -> Signal:
    """Tokens to work on."""
    tokens = token_count(config, f)
    return mux(f["last"][0], const(1, tokens.width), tokens)


def _last_token(f: TaskFields, bits: int) -> Signal:
    """The number of the token to begin with."""
    return mux(f["last"][0], f["tokens"] - 1, const(0, 16))[0:bits]


def _scales(m: Module, config: AcceleratorConfig, task: Steps, scaled: Wire) -> tuple[Signal, Read]:
    """Fill a RAM with each token's reciprocal root, then set `scaled`. Returns (r and h of the token of the step, the
    port that reads a token's sum of squares)."""
    f, over, roots = task.fields, m.state(1, "roots_issued", reset=0), m.pipeline()
    step = task.busy & ~over.signal
    index, last, _ = loop_nest(m, step, [("root", _rows(config, f))])
    finish = step & last["root"]
    over.set(task.busy & (over.signal | finish))

    token = index["root"].zext(16)[0 : config.token_bits]
    begin = early(m, _last_token(f, config.token_bits), "begin")
    squares = Read(roots.at(token + begin), SUM_BITS)
    # The sum fits 63 bits: dialect verifiers hold squares to 62 and epsilon below 2**62.
    total = squares.data + f["epsilon"]
    nothing = squares.data.eq(0) & f["epsilon"].eq(0)
    argument = m.reg(mux(nothing, const(1, SUM_BITS), total)[0:ROOT_BITS], "argument")
    root = m.instance(reciprocal_root(m.design), "root", a=argument)
    made = pack([root["r"], root["h"]]).due(TIMING.first)
    scaled.assign(m.since("scaled", roots.valid(finish).until(made.cycle).plain(), task.busy))
    current = m.reg(task.pipe.at(task.index["token"].zext(16)[0 : config.token_bits]), "token_q")
    write = (roots.valid(step), roots.at(token), made)
    return m.reg(stored(m, "scales", config.tokens, write=write, read=current), "scale"), squares


def _read_address(m: Module, task: Steps, bits: int) -> Signal:
    """w * T + t, in order, or with `last` a row's last token."""
    f, place = task.fields, m.state(bits, "place", reset=0)
    following = place.signal + mux(f["last"][0], f["tokens"][0:bits], const(1, bits))
    return place.set(mux(task.going, following, _last_token(f, bits)), task.fire | ~task.going)
