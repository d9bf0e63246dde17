"""Stream p of attention, sorted: for each item the multipliers of its heads, then the right shifts of their results.

Both are fetched ahead, as far as they fit, since the multipliers of an item come behind the shifts of the one before.
"""

from __future__ import annotations

from lutllm.lowering.hardware.attention.attention_walk import job_fields, running
from lutllm.lowering.hardware.attention.row_buffer import row_buffer
from lutllm.lowering.hardware.lib.circt import (
    Design,
    Fields,
    Levels,
    Module,
    Signal,
    Wire,
    const,
    credit,
    delay,
    loop_nest,
    mux,
    pack,
)
from lutllm.lowering.hardware.lib.memory import ram
from lutllm.lowering.machine.accelerator import PARAMETER_BITS, RIGHT_BITS, VALUE_BITS, AcceleratorConfig

MULTIPLIER_BITS = 16
LOADED = 1  # cycles from an item's last multiplier until `loaded`
RIGHTS_DEPTH = 64  # vector words of right shifts: two items of 32 words, such as 4 heads of 128 channels, 16 a word

RIGHTS_AHEAD = RIGHTS_DEPTH - 3  # beside the two words that a row buffer has, rounded up for its addresses


def parameters_job(config: AcceleratorConfig) -> Fields:
    """What this stage needs of a task."""
    return job_fields(config).subset("items", "reps", "beats")


def attention_parameters(design: Design, config: AcceleratorConfig) -> str:
    """Stream p in. `loaded`: the multipliers of an item are there, at `multiplier_address` at once (its top bit is the
    bank); `multipliers_free`: a bank was read. `rights` and its signals are a row buffer's: a row is a vector word."""
    job, lanes = parameters_job(config), config.lanes
    words_per_beat = config.head_lanes // lanes
    queue = row_buffer(design, lanes * RIGHT_BITS, 1, RIGHTS_AHEAD)

    def body(m: Module) -> dict[str, Signal]:
        f = job.unpack(m["job"])
        step, end = Wire(1), Wire(1)
        active, bank, _ = running(m, m["start"], end.signal, f["items"])
        words = pack([const(0, words_per_beat.bit_length() - 1), f["beats"]]) if words_per_beat > 1 else f["beats"]
        # First a word for each head, then all the words of each.
        levels: Levels = [("rights", const(2, 2)), ("head", f["reps"])]
        levels = [*levels, ("word", lambda index, last: mux(last["rights"], words, const(1, words.width)))]
        index, last = loop_nest(m, step.signal, levels)
        are_rights = last["rights"]
        end.assign((step.signal & are_rights & last["head"] & last["word"]).named("parameters_end"))
        first = step.signal & ~are_rights & index["head"].eq(0)
        free = credit(m, "banks", 2, give=m["multipliers_free"], take=first, initial=2)
        values = m["p_data"].chunks(PARAMETER_BITS)
        rights = m.instance(
            queue, "right_queue", in_valid=m["p_valid"] & active & are_rights,
            in_data=pack([value[VALUE_BITS:] for value in values]), beats=const(1, 1), taken=m["right_taken"],
            beat=const(0, 1), freed=m["right_freed"],
        )  # fmt: skip
        room = mux(are_rights, rights["in_ready"], free | index["head"].ne(0))
        ready = (active & room).named("p_ready")
        step.assign(ready & m["p_valid"])
        multiplier = m.output_of(
            ram(design, 512, MULTIPLIER_BITS, read_latency=0), "multipliers", we=step.signal & ~are_rights,
            wa=pack([index["head"], bank]), wd=values[0][0:MULTIPLIER_BITS], ra=m["multiplier_address"],
        )  # fmt: skip
        loaded = delay(m, step.signal & ~are_rights & last["head"], LOADED, "loaded_q", reset=0)
        return dict(
            p_ready=ready, loaded=loaded, multiplier=multiplier, right_there=rights["there"], rights=rights["data"]
        )  # fmt: skip

    inputs = {"start": 1, "job": job.width, "p_valid": 1, "p_data": config.p_bits, "multipliers_free": 1}
    inputs |= {"multiplier_address": 9, "right_taken": 1, "right_freed": 1}
    outputs = {"p_ready": 1, "loaded": 1, "multiplier": MULTIPLIER_BITS, "right_there": 1, "rights": lanes * RIGHT_BITS}
    return design.module("attention_parameters", inputs, outputs, body)
