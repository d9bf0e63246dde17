"""Engine norm: RMSNorm of the residual stream in memory r, to memory x at the exponents of the linear that reads it."""

from lutllm.lowering.hardware.control.task import Steps, TaskFields, Timing, stepped_task, task_inputs, token_count
from lutllm.lowering.hardware.lib.arithmetic import clamped, largest, rescaled_later, rounded_later, saturated
from lutllm.lowering.hardware.lib.circt import Design, Levels, Module, Signal, Wire, const, delay, loop_nest, mux, pack
from lutllm.lowering.hardware.lib.memory import ram
from lutllm.lowering.hardware.lib.reciprocal_root import A_BITS, H_BITS, R_BITS, ROOT_LATENCY, reciprocal_root
from lutllm.lowering.hardware.vector.residual import SUM_BITS
from lutllm.lowering.machine.accelerator import RIGHT_BITS, VALUE_BITS, X_BITS, AcceleratorConfig
from lutllm.quantization import NORM_BITS, RESIDUAL_BITS

Z_BITS = 24  # |z| < 2**22 + 2**8
LATENCY = 12  # cycles from a step to its word
_SCALED = ROOT_LATENCY + 1  # cycles from a token's sum to its scale
TIMING = Timing(first=_SCALED, last=LATENCY + 1, rows=1)


def norm(design: Design, config: AcceleratorConfig) -> str:
    """Streams in: `task`, `p` ({gain, right} of a vector word). Reads the sums of squares at `squares_read*`, at once,
    drives the read port of memory r and the write port of memory x.

    First the scale of every token, a cycle each, then the words, in each the tokens. With `last`: only the last token.
    """
    r_bits, x_bits = config.address_bits("r"), config.address_bits("x")
    lane = norm_lane(design)

    def levels(f: TaskFields) -> Levels:
        return [("word", f["words"]), ("token", _rows(config, f))]

    def body(m: Module) -> dict[str, Signal]:
        scaled = Wire(1)
        task = stepped_task(m, "norm", levels, m["p_valid"], after=scaled.signal, latency=TIMING.last)
        f = task.fields
        scale, token = _scales(m, config, task, scaled)
        parameters = m.reg(m["p_data"], "parameters", enable=task.fire).chunks(VALUE_BITS + RIGHT_BITS)
        shared = dict(r=scale[0:R_BITS], h=scale[R_BITS:], shift=f["shift"])
        shared |= dict(high=m.reg(largest(f["bits"], X_BITS), "high"))
        results = []
        for i, x in enumerate(m["r_read_data"].chunks(RESIDUAL_BITS)):
            gain, right = parameters[i][0:VALUE_BITS], parameters[i][VALUE_BITS:]
            results.append(m.output_of(lane, f"lane_{i}", x=x, gain=gain, right=right, **shared))
        return dict(
            task_ready=task.ready,
            p_ready=task.fire & task.last["token"],
            squares_read_address=token,
            r_read=task.fire,
            r_read_address=_read_address(m, task, r_bits),
            x_write=delay(m, task.fire, LATENCY, "write", reset=0),
            x_write_address=delay(m, f["base"][0:x_bits] + task.offset[0:x_bits], LATENCY, "write_address"),
            x_write_data=pack(results),
            done=task.done,
        )

    inputs = task_inputs("norm") | {"p_valid": 1, "p_data": config.p_bits, "squares_read_data": SUM_BITS}
    inputs |= {"r_read_data": config.word_bits("r")}
    outputs = {"task_ready": 1, "p_ready": 1, "squares_read_address": config.token_bits}
    outputs |= {"r_read": 1, "r_read_address": r_bits}
    outputs |= {"x_write": 1, "x_write_address": x_bits, "x_write_data": config.word_bits("x"), "done": 1}
    return design.module("norm", inputs, outputs, body)


def norm_lane(design: Design) -> str:
    """A channel. `x`, `gain` and `right` come a cycle after the step, `r` and `h` two, `result` after `LATENCY`."""

    def body(m: Module) -> dict[str, Signal]:
        bits = RESIDUAL_BITS + R_BITS + 1
        x, r = m.reg(m["x"], "x_q").sext(bits), m["r"].zext(bits)
        product = delay(m, x * r, 2, "product")
        # rescale by -(9 + h), where 9 + h is -6 .. 25: to the left by 6, then to the right by 15 + h.
        h = delay(m, m["h"], 2, "h_late")
        z = rounded_later(m, pack([const(0, 6), product]), h, "z_shifted")
        z = m.reg(z[0:Z_BITS], "z").sext(Z_BITS + VALUE_BITS)
        gain = delay(m, m["gain"], 5, "gain_late").sext(Z_BITS + VALUE_BITS)
        weighted = delay(m, z * gain, 2, "weighted")
        n = saturated(rounded_later(m, weighted, m["shift"], "n_shifted"), NORM_BITS)
        right = delay(m, m["right"], 9, "right_late")
        result = clamped(rescaled_later(m, m.reg(n, "n"), right, "result_shifted"), m["high"])
        return dict(result=m.reg(result, "result_q"))

    inputs = {"x": RESIDUAL_BITS, "r": R_BITS, "h": H_BITS, "gain": VALUE_BITS, "right": RIGHT_BITS}
    inputs |= {"shift": 8, "high": X_BITS}
    return design.module("norm_lane", inputs, {"result": X_BITS}, body, reset=False)


def _rows(config: AcceleratorConfig, f: TaskFields) -> Signal:
    """Tokens to work on."""
    tokens = token_count(config, f)
    return mux(f["last"][0], const(1, tokens.width), tokens)


def _last_token(f: TaskFields, bits: int) -> Signal:
    """The number of the token to begin with."""
    return mux(f["last"][0], f["tokens"] - 1, const(0, 16))[0:bits]


def _scales(m: Module, config: AcceleratorConfig, task: Steps, scaled: Wire) -> tuple[Signal, Signal]:
    """Fill a RAM with each token's reciprocal root, then set `scaled`. Returns (r and h of the token of the step two
    cycles ago, the token whose sum of squares is wanted)."""
    f, over, written = task.fields, m.state(1, "roots_issued", reset=0), m.state(1, "scaled", reset=0)
    step = task.busy & ~over.signal
    index, last, _ = loop_nest(m, step, [("root", _rows(config, f))])
    finish = step & last["root"]
    over.set(task.busy & (over.signal | finish))
    written.set(task.busy & (written.signal | delay(m, finish, _SCALED, "root_finish", reset=0)))
    scaled.assign(written.signal)

    token = index["root"].zext(16)[0 : config.token_bits]
    # The sum fits 63 bits: dialect verifiers hold squares to 62 and epsilon below 2**62.
    total = m["squares_read_data"] + f["epsilon"]
    argument = m.reg(mux(total.eq(0), const(1, SUM_BITS), total)[0:A_BITS], "argument")
    root = m.instance(reciprocal_root(m.design), "root", a=argument)
    scale = m.output_of(
        ram(m.design, config.tokens, R_BITS + H_BITS, read_latency=0),
        "scales",
        we=delay(m, step, _SCALED, "root_valid", reset=0),
        wa=delay(m, token, _SCALED, "root_token"),
        wd=pack([root["r"], root["h"]]),
        ra=m.reg(task.index["token"].zext(16)[0 : config.token_bits], "token_q"),
    )
    return m.reg(scale, "scale"), token + _last_token(f, config.token_bits)


def _read_address(m: Module, task: Steps, bits: int) -> Signal:
    """w * T + t, in order, or with `last` a row's last token."""
    f, place = task.fields, m.state(bits, "place", reset=0)
    following = place.signal + mux(f["last"][0], f["tokens"][0:bits], const(1, bits))
    return place.set(mux(task.going, following, _last_token(f, bits)), task.fire | ~task.going)
