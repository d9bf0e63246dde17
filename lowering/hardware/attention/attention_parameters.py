"""Stream p of attention, sorted: for each item the multipliers of its heads, then the right shifts of their results.

Both are fetched ahead, as far as they fit, since the multipliers of an item come behind the shifts of the one before;
each core has multipliers of its own.
"""

from __future__ import annotations

from lutllm.lowering.hardware.attention.attention_walk import job_fields, running
from lutllm.lowering.hardware.attention.row_buffer import row_buffer
from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.memory import ram
from lutllm.lowering.hardware.lib.signal import Fields, Signal, const, mux, pack, select
from lutllm.lowering.hardware.lib.state import Levels, credit, loop_nest
from lutllm.lowering.machine.accelerator import PARAMETER_BITS, RIGHT_BITS, VALUE_BITS, AcceleratorConfig

MULTIPLIER_BITS = 16
LOADED = 1  # cycles from an item's last multiplier until `loaded`
ADDRESS_BITS = 9  # of a multiplier: its bank and the head of an item
RIGHTS_DEPTH = 64  # vector words of right shifts a core: two items of 32 words, such as 4 heads of 128 channels


def rights_ahead(config: AcceleratorConfig) -> int:
    """Words of right shifts beside the two that a row buffer has, rounded up for its addresses."""
    return RIGHTS_DEPTH * config.attention_cores - 3


def parameters_job(config: AcceleratorConfig) -> Fields:
    """What this stage needs of a task."""
    return job_fields(config).subset("kv_heads", "items", "reps", "beats")


def attention_parameters(design: Design, config: AcceleratorConfig) -> str:
    """Stream p in. `loaded`: the multipliers of an item are there, at `multiplier_address` at once (its top bit is the
    bank); `multipliers_free`: a bank was read; of these each core has its part, the first lowest. `rights` and its
    signals are a row buffer's: a row is a vector word."""
    job, lanes, cores = parameters_job(config), config.lanes, config.attention_cores
    words_per_beat = config.head_lanes // lanes
    queue = row_buffer(design, lanes * RIGHT_BITS, 1, rights_ahead(config))

    def body(m: Module) -> dict[str, Signal]:
        f = job.unpack(m["job"])
        step, end = Wire(1), Wire(1)
        run = running(m, m["start"], end.signal, f, config.attention_units, config.attention_ways)
        mine = [run.core.eq(core) for core in range(cores)]
        words = pack([const(0, words_per_beat.bit_length() - 1), f["beats"]]) if words_per_beat > 1 else f["beats"]
        # First a word for each head, then all the words of each.
        levels: Levels = [("rights", const(2, 2)), ("head", f["reps"])]
        levels = [*levels, ("word", lambda index, last: mux(last["rights"], words, const(1, words.width)))]
        index, last = loop_nest(m, step.signal, levels)
        are_rights = last["rights"]
        end.assign((step.signal & are_rights & last["head"] & last["word"]).named("parameters_end"))
        first = step.signal & ~are_rights & index["head"].eq(0)
        free = select([
            credit(m, f"banks_{core}", 3, give=m["multipliers_free"][core], take=first & mine[core], initial=2)
            for core in range(cores)
        ], run.core)  # fmt: skip
        values = m["p_data"].chunks(PARAMETER_BITS)
        rights = m.instance(
            queue, "right_queue", in_valid=m["p_valid"] & run.active & are_rights,
            in_data=pack([value[VALUE_BITS:] for value in values]), beats=const(1, 1), taken=m["right_taken"],
            beat=const(0, 1), freed=m["right_freed"],
        )  # fmt: skip
        room = mux(are_rights, rights["in_ready"], free | index["head"].ne(0))
        ready = (run.active & room).named("p_ready")
        step.assign(ready & m["p_valid"])
        store, write = ram(design, 1 << ADDRESS_BITS, MULTIPLIER_BITS, read_latency=0), step.signal & ~are_rights
        written = dict(wa=pack([index["head"], run.bank]), wd=values[0][0:MULTIPLIER_BITS])
        multipliers = [
            m.output_of(store, f"multipliers_{core}", we=write & mine[core], ra=address, **written)
            for core, address in enumerate(m["multiplier_address"].chunks(ADDRESS_BITS))
        ]
        loaded = pack([write & last["head"] & own for own in mine])
        return dict(
            p_ready=ready, loaded=m.reg(loaded, "loaded_q", cycles=LOADED, reset=0), multiplier=pack(multipliers),
            right_there=rights["there"], rights=rights["data"],
        )  # fmt: skip

    inputs = {"start": 1, "job": job.width, "p_valid": 1, "p_data": config.p_bits}
    inputs |= {"multipliers_free": cores, "multiplier_address": cores * ADDRESS_BITS, "right_taken": 1}
    outputs = {"p_ready": 1, "loaded": cores, "multiplier": cores * MULTIPLIER_BITS, "right_there": 1}
    inputs, outputs = inputs | {"right_freed": 1}, outputs | {"rights": lanes * RIGHT_BITS}
    return design.module("attention_parameters", inputs, outputs, body)
