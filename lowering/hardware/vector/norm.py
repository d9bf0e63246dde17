"""Engine norm: RMSNorm of the residual stream in memory r, to memory x at the exponents of the linear that reads it; or
of what a linear left in memory y, to stream n, which is added to the residual stream."""

from typing import Any

from lutllm.lowering.hardware.control.records import reads, task_port, writes
from lutllm.lowering.hardware.control.task import Steps, TaskFields, Timing, stepped_task, token_count
from lutllm.lowering.hardware.lib.arithmetic import clamped, largest, rescaled_later, rounded_later, saturated
from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.functions import H_BITS, R_BITS, ROOT_BITS, ROOT_LATENCY, reciprocal_root
from lutllm.lowering.hardware.lib.memory import stored
from lutllm.lowering.hardware.lib.signal import Signal, const, mux, pack
from lutllm.lowering.hardware.lib.state import Levels, credit, early, loop_nest
from lutllm.lowering.hardware.lib.stream import FIFO_LATENCY, Read, Stream, Write
from lutllm.lowering.hardware.vector.residual import SUM_BITS, squares_port
from lutllm.lowering.machine.accelerator import RIGHT_BITS, VALUE_BITS, X_BITS, AcceleratorConfig
from lutllm.quantization import NORM_BITS, RESIDUAL_BITS

Z_BITS = 24  # |z| < 2**22 + 2**8
TIMING = Timing(first=ROOT_LATENCY + 1, last=13, rows=1)
NORMED = 11  # cycles from a step to its word of stream n
FIFO_DEPTH = NORMED + 2  # a word's room comes back after so many cycles at the earliest


def n_depth(config: AcceleratorConfig) -> int:
    return config.depths.get("n", FIFO_DEPTH)


def norm(design: Design, config: AcceleratorConfig) -> str:
    """Streams in: `task`, `p` ({gain, right} of a vector word). Reads the sums of squares, memory r, writes memory x.
    In mode norm_after, where a task says so, it reads memory y, and words go to stream `n` out, normed and no more.

    First the scale of every token, a cycle each, then the words, in each the tokens. With `last`: only the last token.
    """
    lane, modes = norm_lane(design, "norm_after" in config.modes), config.modes

    def levels(f: TaskFields) -> Levels:
        return [("word", f["words"]), ("token", _rows(config, f))]

    def body(m: Module) -> dict[str, Any]:
        scaled, p, normed = Wire(1), m["p"], "norm_after" in modes
        popped, fire = (Wire(1), Wire(1)) if normed else (None, None)

        def allowed(f: TaskFields) -> Signal:
            if popped is None or fire is None:
                return p.valid
            aside, depth = f["after"][0], n_depth(config)
            room = credit(m, "room", depth, give=popped.signal, take=fire.signal & aside, initial=depth)
            return p.valid & (room | ~aside)

        task = stepped_task(m, config, "norm", levels, allowed, after=scaled.signal, latency=TIMING.last)
        f, at = task.fields, task.pipe.at
        p.drive(ready=task.fire & task.last["token"])
        bits = {memory: config.address_bits(memory) for memory in ("r", "y")}
        place = _read_address(m, task, max(bits.values()) if normed else bits["r"])
        own = f["after"][0] if normed else None
        step = task.step if own is None else task.step & ~own
        read = Read(at(place)[0 : bits["r"]], config.word_bits("r"), step)
        out: dict[str, Any] = {"r_read": read}
        other: Read | None = None
        if own is not None and fire is not None:
            fire.assign(task.fire)
            source = at(place + f["source"].zext(max(16, place.width))[0 : place.width])[0 : bits["y"]]
            out["y_read"] = other = Read(source, config.word_bits("y"), task.step & own)
        scale, squares = _scales(m, config, task, scaled)
        parameters = m.reg(at(p.data), "parameters", enable=task.step).chunks(VALUE_BITS + RIGHT_BITS)
        shared = dict(r=scale[0:R_BITS], h=scale[R_BITS:], shift=f["shift"])
        shared |= dict(high=m.reg(largest(f["bits"], X_BITS), "high"))
        lanes, row = [], read.data.chunks(RESIDUAL_BITS)
        if own is not None and other is not None:
            both = zip(other.data.chunks(config.y_bits), row, strict=True)
            row = [mux(own, y.sext(RESIDUAL_BITS), r) for y, r in both]
        for i, x in enumerate(row):
            gain, right = parameters[i][0:VALUE_BITS], parameters[i][VALUE_BITS:]
            lanes.append(m.instance(lane, f"lane_{i}", x=x, gain=gain, right=right, **shared))
        x_bits = config.address_bits("x")
        address = at(f["base"][0:x_bits] + task.offset[0:x_bits])
        write = Write(step, address, pack([made["result"] for made in lanes]))
        task.ends(write.enable)
        if own is not None and popped is not None:
            words = pack([made["n"] for made in lanes]).due(NORMED - FIFO_LATENCY)
            out["n"] = Stream(task.step & own, data=words).fifo(m, "normed", n_depth(config))
            popped.assign(out["n"].moves)
        return dict(squares_read=squares, x_write=write, done=task.done) | out

    outputs = {"squares_read": squares_port(config), "r_read": reads(config, "r"), "x_write": writes(config, "x")}
    if "norm_after" in modes:
        outputs |= {"y_read": reads(config, "y"), "n": Stream.of(config.lanes * NORM_BITS)}
    return design.module(
        "norm", {"task": task_port(config, "norm"), "p": Stream.of(config.p_bits)}, outputs | {"done": 1}, body
    )


def norm_lane(design: Design, after: bool) -> str:
    """A channel: `x` of the row, `r` and `h` of its root, `gain` and `right` of the channel; `after`: also `n`, normed
    and not rescaled."""

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
        return dict(result=m.reg(result, "result_q")) | (dict(n=n) if after else {})

    inputs = {"x": RESIDUAL_BITS, "r": R_BITS, "h": H_BITS, "gain": VALUE_BITS, "right": RIGHT_BITS}
    inputs |= {"shift": 8, "high": X_BITS}
    outputs = {"result": X_BITS} | ({"n": NORM_BITS} if after else {})
    return design.pipeline("norm_lane", inputs, outputs, body, steady=("shift", "high"))


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
