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
from lutllm.lowering.hardware.vector.residual import SUM_BITS, TOTAL_BITS, squares_port, totals_port
from lutllm.lowering.machine.accelerator import PARAMETER_BITS, RIGHT_BITS, VALUE_BITS, X_BITS, AcceleratorConfig
from lutllm.quantization import NORM_BITS, RESIDUAL_BITS

Z_BITS = 24  # |z| < 2**22 + 2**8
CHANNELS_BITS, BIAS_BITS = TOTAL_BITS - RESIDUAL_BITS, PARAMETER_BITS
MEAN_BITS = RESIDUAL_BITS  # as many as a channel has
MOMENTS_LATENCY = 36  # cycles from a token's sums to its mean and the sum of squares around it


def timing(config: AcceleratorConfig) -> Timing:
    more = "layer_norm" in config.modes
    return Timing(first=ROOT_LATENCY + 1 + more * MOMENTS_LATENCY, last=13 + 2 * more, rows=1)


def normed(config: AcceleratorConfig) -> int:
    """Cycles from a step to its word of stream n."""
    return timing(config).last - 2


def n_depth(config: AcceleratorConfig) -> int:
    """A word's room comes back after so many cycles at the earliest."""
    return config.depths.get("n", normed(config) + 2)


def norm(design: Design, config: AcceleratorConfig) -> str:
    """Streams in: `task`, `p` ({gain, right} of a vector word). Reads the sums of squares, memory r, writes memory x.
    In mode norm_after, where a task says so, it reads memory y, and words go to stream `n` out, normed and no more. In
    mode layer_norm it reads the sums of rows, too, and subtracts their means (`centered`); and p has biases before that
    of a vector word (`biased`).

    First the scale of every token, a cycle each, then the words, in each the tokens. With `last`: only the last token.
    """
    lane, modes = norm_lane(design, config), config.modes
    centered, latency = "layer_norm" in modes, timing(config)

    def levels(f: TaskFields) -> Levels:
        rows = _rows(config, f)
        if not centered:
            return [("word", f["words"]), ("token", rows)]
        parts = f["biased"][0].zext(2) + 1  # biases, then channels
        tokens = ("token", lambda at: mux(at["part_last"], rows, const(1, rows.width)))
        return [("word", f["words"]), ("part", parts), tokens]

    def body(m: Module) -> dict[str, Any]:
        scaled, p, normed_ = Wire(1), m["p"], "norm_after" in modes
        popped, fire = (Wire(1), Wire(1)) if normed_ else (None, None)

        def allowed(f: TaskFields) -> Signal:
            if popped is None or fire is None:
                return p.valid
            aside, depth = f["after"][0], n_depth(config)
            room = credit(m, "room", depth, give=popped.signal, take=fire.signal & aside, initial=depth)
            return p.valid & (room | ~aside)

        task = stepped_task(m, config, "norm", levels, allowed, after=scaled.signal, latency=latency.last)
        f, at = task.fields, task.pipe.at
        p.drive(ready=task.fire & task.last["token"])
        bits = {memory: config.address_bits(memory) for memory in ("r", "y")}
        channels = task.fire & task.last["part"] if centered else task.fire
        valid = task.pipe.valid(channels) if centered else task.step
        place = _read_address(m, task, max(bits.values()) if normed_ else bits["r"], channels)
        own = f["after"][0] if normed_ else None
        step = valid if own is None else valid & ~own
        read = Read(at(place)[0 : bits["r"]], config.word_bits("r"), step)
        out: dict[str, Any] = {"r_read": read}
        other: Read | None = None
        if own is not None and fire is not None:
            fire.assign(channels)
            source = at(place + f["source"].zext(max(16, place.width))[0 : place.width])[0 : bits["y"]]
            out["y_read"] = other = Read(source, config.word_bits("y"), valid & own)
        scale, ports = _scales(m, config, task, scaled)
        parameters = m.reg(at(p.data), "parameters", enable=task.step).chunks(VALUE_BITS + RIGHT_BITS)
        shared = dict(r=scale[0:R_BITS], h=scale[R_BITS : R_BITS + H_BITS], shift=f["shift"])
        shared |= dict(high=m.reg(largest(f["bits"], X_BITS), "high"))
        shared |= dict(bare=f["bare"][0]) if "no_norm" in modes else {}
        biases = [dict[str, Signal]()] * config.lanes
        if centered:
            shared["mean"] = scale[R_BITS + H_BITS :]
            held = m.state(config.p_bits, "biases")
            held.set(mux(f["biased"][0], p.data, const(0, config.p_bits)), ~channels)
            biases = [dict(bias=bias) for bias in at(held.signal).chunks(BIAS_BITS)]
        lanes, row = [], read.data.chunks(RESIDUAL_BITS)
        if own is not None and other is not None:
            both = zip(other.data.chunks(config.y_bits), row, strict=True)
            row = [mux(own, y.sext(RESIDUAL_BITS), r) for y, r in both]
        for i, x in enumerate(row):
            gain, right = parameters[i][0:VALUE_BITS], parameters[i][VALUE_BITS:]
            lanes.append(m.instance(lane, f"lane_{i}", x=x, gain=gain, right=right, **biases[i], **shared))
        x_bits = config.address_bits("x")
        offset = _count(m, task, channels) if centered else task.offset
        address = at(f["base"][0:x_bits] + offset[0:x_bits])
        write = Write(step, address, pack([made["result"] for made in lanes]))
        task.ends(write.enable)
        if own is not None and popped is not None:
            words = pack([made["n"] for made in lanes]).due(normed(config) - FIFO_LATENCY)
            out["n"] = Stream(valid & own, data=words).fifo(m, "normed", n_depth(config))
            popped.assign(out["n"].moves)
        return dict(x_write=write, done=task.done) | ports | out

    outputs = {"squares_read": squares_port(config), "r_read": reads(config, "r"), "x_write": writes(config, "x")}
    if centered:
        outputs |= {"totals_read": totals_port(config)}
    if "norm_after" in modes:
        outputs |= {"y_read": reads(config, "y"), "n": Stream.of(config.lanes * NORM_BITS)}
    return design.module(
        "norm", {"task": task_port(config, "norm"), "p": Stream.of(config.p_bits)}, outputs | {"done": 1}, body
    )


def norm_lane(design: Design, config: AcceleratorConfig) -> str:
    """A channel: `x` of the row, `r` and `h` of its root, `gain` and `right` of the channel. In mode norm_after also
    `n`, normed and not rescaled, in mode layer_norm with the `mean` of the row and the channel's `bias`; in mode
    no_norm not normed where `bare`."""
    after, centered, bare = (mode in config.modes for mode in ("norm_after", "layer_norm", "no_norm"))

    def body(m: Module) -> dict[str, Signal]:
        bits = RESIDUAL_BITS + R_BITS + 1 + centered
        x = row = m.reg(m["x"], "x_q")
        if centered:
            x = m.reg(x.sext(RESIDUAL_BITS + 1) - m["mean"].sext(RESIDUAL_BITS + 1), "away")
        x, r = x.sext(bits), m["r"].zext(bits)
        product = m.reg(x * r, "product", cycles=2)
        # rescale by -(9 + h), where 9 + h is -6 .. 25: to the left by 6, then to the right by 15 + h.
        z = rounded_later(m, pack([const(0, 6), product]), m["h"], "z_shifted")
        z = m.reg(z[0:Z_BITS], "z").sext(Z_BITS + VALUE_BITS)
        weighted = m.reg(z * m["gain"].sext(Z_BITS + VALUE_BITS), "weighted", cycles=2)
        n = rounded_later(m, weighted, m["shift"], "n_shifted")
        if centered:
            n = m.reg(n, "unbiased")
            n = n + m["bias"].sext(n.width)
        n = saturated(n, NORM_BITS)
        if bare:
            n = mux(m["bare"], row.sext(NORM_BITS), n)
        n = m.reg(n, "n")
        result = clamped(rescaled_later(m, n, m["right"], "result_shifted"), m["high"])
        return dict(result=m.reg(result, "result_q")) | (dict(n=n) if after else {})

    inputs = {"x": RESIDUAL_BITS, "r": R_BITS, "h": H_BITS, "gain": VALUE_BITS, "right": RIGHT_BITS}
    inputs |= {"shift": 8, "high": X_BITS} | ({"mean": MEAN_BITS, "bias": BIAS_BITS} if centered else {})
    inputs |= {"bare": 1} if bare else {}
    outputs = {"result": X_BITS} | ({"n": NORM_BITS} if after else {})
    return design.pipeline("norm_lane", inputs, outputs, body, steady=("shift", "high", *(["bare"] if bare else [])))


def _rows(config: AcceleratorConfig, f: TaskFields) -> Signal:
    """Tokens to work on."""
    tokens = token_count(config, f)
    return mux(f["last"][0], const(1, tokens.width), tokens)


def _last_token(f: TaskFields, bits: int) -> Signal:
    """The number of the token to begin with."""
    return mux(f["last"][0], f["tokens"] - 1, const(0, 16))[0:bits]


def _scales(m: Module, config: AcceleratorConfig, task: Steps, scaled: Wire) -> tuple[Signal, dict[str, Read]]:
    """Fill a RAM with each token's reciprocal root, then set `scaled`. Returns (r and h of the token of the step, then
    its mean where it is asked for; the ports that read a token's sums)."""
    f, over, roots = task.fields, m.state(1, "roots_issued", reset=0), m.pipeline()
    step = task.busy & ~over.signal
    index, last, _ = loop_nest(m, step, [("root", _rows(config, f))])
    finish = step & last["root"]
    over.set(task.busy & (over.signal | finish))

    token = index["root"].zext(16)[0 : config.token_bits]
    begin = early(m, _last_token(f, config.token_bits), "begin")
    squares = Read(roots.at(token + begin), SUM_BITS)
    # The sum fits 63 bits: dialect verifiers hold squares to 62 and epsilon below 2**62.
    ports, around, mean = {"squares_read": squares}, squares.data, list[Signal]()
    if "layer_norm" in config.modes:
        ports["totals_read"] = totals = Read(roots.at(token + begin), TOTAL_BITS)
        found = m.instance(
            moments(m.design), "moments", squares=around, total=totals.data, channels=f["channels"][0:CHANNELS_BITS],
            centered=f["centered"][0],
        )  # fmt: skip
        around, mean = found["around"], [found["mean"]]
    total = around + f["epsilon"]
    nothing = around.eq(0) & f["epsilon"].eq(0)
    argument = m.reg(mux(nothing, const(1, SUM_BITS), total)[0:ROOT_BITS], "argument")
    root = m.instance(reciprocal_root(m.design), "root", a=argument)
    made = pack([root["r"], root["h"], *mean]).due(timing(config).first)
    scaled.assign(m.since("scaled", roots.valid(finish).until(made.cycle).plain(), task.busy))
    current = m.reg(task.pipe.at(task.index["token"].zext(16)[0 : config.token_bits]), "token_q")
    write = (roots.valid(step), roots.at(token), made)
    return m.reg(stored(m, "scales", config.tokens, write=write, read=current), "scale"), ports


def moments(design: Design) -> str:
    """Of a token's row the `mean`, rounded, by long division, and the sum of squares `around` it, from the sums of its
    `squares` and of itself, `total`, over so many `channels`; where not `centered`, 0 and `squares`."""

    def body(m: Module) -> dict[str, Signal]:
        c, bits, wide = m["channels"], MEAN_BITS, MEAN_BITS + CHANNELS_BITS + 1
        # floor((2 * total + c) / (2 * c)), of what no channel goes below more, so that nothing is negative. The total
        # comes a cycle later, as a task's first token does when its channels are told.
        more = m.reg(pack([const(0, bits), c]).zext(wide) + c.zext(wide), "more")
        total = m.reg(m["total"], "total_q")
        given = m.reg(pack([const(0, 1), total]).sext(wide) + more, "given")
        divisor, rest, quotient = pack([const(0, 1), c]).zext(CHANNELS_BITS + 3), given[bits:], list[Signal]()
        for i in reversed(range(bits)):
            here = pack([given[i], rest]).zext(CHANNELS_BITS + 3)
            less = here - divisor
            below = less[CHANNELS_BITS + 2]
            rest = m.reg(mux(below, here, less)[0 : CHANNELS_BITS + 1], f"rest_{i}")
            quotient.insert(0, m.reg(~below, f"quotient_{i}"))
        found = pack([*quotient[:-1], ~quotient[-1]])
        mean = m.reg(mux(m["centered"], found, const(0, bits)), "mean")
        # squares - 2 * mean * total + c * mean**2
        times = m.reg(mean.sext(wide) * c.zext(wide), "times", cycles=2)
        half = m.reg(times.sext(wide + 1) - pack([const(0, 1), total]).sext(wide + 1), "half")
        product = m.reg(mean.sext(SUM_BITS) * half.sext(SUM_BITS), "product", cycles=3)
        return dict(around=m.reg(m["squares"] + product, "around"), mean=mean)

    inputs = {"total": TOTAL_BITS, "squares": SUM_BITS, "channels": CHANNELS_BITS, "centered": 1}
    outputs = {"around": SUM_BITS, "mean": MEAN_BITS}
    return design.pipeline("moments", inputs, outputs, body, steady=("channels", "centered"))


def _count(m: Module, task: Steps, step: Signal) -> Signal:
    """How many of such steps the task has made."""
    count = m.state(16, "channels_made", reset=0)
    return count.set(mux(task.busy, count.signal + 1, const(0, 16)), step | ~task.busy)


def _read_address(m: Module, task: Steps, bits: int, step: Signal) -> Signal:
    """w * T + t, in order of steps, or with `last` a row's last token."""
    f, place = task.fields, m.state(bits, "place", reset=0)
    following = place.signal + mux(f["last"][0], f["tokens"][0:bits], const(1, bits))
    return place.set(mux(task.going, following, _last_token(f, bits)), step | ~task.going)
