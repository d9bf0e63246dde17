"""Stream p of attention, sorted: for each item the multipliers of its heads, then the right shifts of their results.

Both are fetched ahead, as far as they fit, since the multipliers of an item come behind the shifts of the one before;
each core has multipliers of its own.
"""

from __future__ import annotations

from typing import Any

from lutllm.lowering.hardware.attention.attention_walk import job_fields, running
from lutllm.lowering.hardware.attention.row_buffer import row_buffer, rows_port
from lutllm.lowering.hardware.lib.bundle import Bundle, Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.memory import stored
from lutllm.lowering.hardware.lib.signal import Fields, const, mux, pack, select
from lutllm.lowering.hardware.lib.state import Levels, credit, loop_nest
from lutllm.lowering.hardware.lib.stream import Read, Stream
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


def multiplier_port() -> Bundle:
    """A port that reads a multiplier, at once: the top bit of its address is the bank."""
    return Read.of(ADDRESS_BITS, MULTIPLIER_BITS, enable=False)


def rights_port(config: AcceleratorConfig) -> Bundle:
    """The right shifts of a vector word: a row of one word."""
    return rows_port(config.lanes * RIGHT_BITS, 1)


def attention_parameters(design: Design, config: AcceleratorConfig) -> str:
    """Stream p in. `loaded`: the multipliers of an item are there, at `multiplier_0`..; `multipliers_free`: a bank was
    read; of these each core has its part, the first lowest. Out: `rights`."""
    job, lanes, cores = parameters_job(config), config.lanes, range(config.attention_cores)
    words_per_beat = config.head_lanes // lanes
    queue = row_buffer(design, lanes * RIGHT_BITS, 1, rights_ahead(config))

    def body(m: Module) -> dict[str, Any]:
        f, p = job.unpack(m["job"]), m["p"]
        end, step = Wire(1), p.moves
        run = running(m, m["start"], end.signal, f, config.attention_units, config.attention_ways)
        mine = [run.core.eq(core) for core in cores]
        words = pack([const(0, words_per_beat.bit_length() - 1), f["beats"]]) if words_per_beat > 1 else f["beats"]
        # First a word for each head, then all the words of each.
        levels: Levels = [("rights", const(2, 2)), ("head", f["reps"])]
        levels = [*levels, ("word", lambda at: mux(at["rights_last"], words, const(1, words.width)))]
        index, last, at_first = loop_nest(m, step, levels)
        are_rights = last["rights"]
        end.assign((step & are_rights & last["head"] & last["word"]).named("parameters_end"))
        first = step & ~are_rights & at_first["head"]
        free = select([
            credit(m, f"banks_{core}", 3, give=m["multipliers_free"][core], take=first & mine[core], initial=2)
            for core in cores
        ], run.core)  # fmt: skip
        values = p.data.chunks(PARAMETER_BITS)
        shifts = Stream(p.valid & run.active & are_rights, data=pack([value[VALUE_BITS:] for value in values]))
        rights = m.output_of(queue, "right_queue", **{"in": shifts}, beats=const(1, 1))
        room = mux(are_rights, shifts.ready, free | ~at_first["head"])
        p.drive(ready=(run.active & room).named("p_ready"))
        write, place = step & ~are_rights, pack([index["head"], run.bank])
        for core, own in zip(cores, mine, strict=True):
            port, written = m[f"multiplier_{core}"], (write & own, place, values[0][0:MULTIPLIER_BITS])
            found = stored(m, f"multipliers_{core}", 1 << ADDRESS_BITS, write=written, read=port.address)
            port.drive(data=found)
        loaded = pack([write & last["head"] & own for own in mine])
        return dict(loaded=m.reg(loaded, "loaded_q", cycles=LOADED, reset=0), rights=rights)

    inputs = {"start": 1, "job": job.width, "p": Stream.of(config.p_bits), "multipliers_free": len(cores)}
    inputs |= {f"multiplier_{core}": multiplier_port() for core in cores}
    return design.module("attention_parameters", inputs, {"loaded": len(cores), "rights": rights_port(config)}, body)
