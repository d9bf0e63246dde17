"""The attention engine: units that take the kv heads of a task in turn, their parameters, and the division at the end.

Stream p and memory x are the engine's: an item of each way of each unit after the other. See `unit` for the rest.
"""

from __future__ import annotations

from typing import Any

from lutllm.lowering.hardware.attention.attention_parameters import (
    LOADED,
    attention_parameters,
    parameters_job,
    rights_ahead,
)
from lutllm.lowering.hardware.attention.attention_walk import job_fields, resized
from lutllm.lowering.hardware.attention.drain import (
    BITS_BITS,
    DONE,
    READ_STAGE,
    RIGHT_FREED,
    attention_drain,
    drain_job,
)
from lutllm.lowering.hardware.attention.row_buffer import row_depth
from lutllm.lowering.hardware.attention.row_fetch import STEP_BITS
from lutllm.lowering.hardware.attention.scores import scored_latency
from lutllm.lowering.hardware.attention.unit import FETCHES, PULSES, attention_unit
from lutllm.lowering.hardware.attention.weighted import SHIFT_BITS, weight_stage, weighted_latency
from lutllm.lowering.hardware.control.records import reads, task_port, writes
from lutllm.lowering.hardware.control.task import held_task, settled
from lutllm.lowering.hardware.lib.axi import commands
from lutllm.lowering.hardware.lib.bundle import Link, Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Signal, all_of, const, mux, pack
from lutllm.lowering.hardware.lib.state import CREDIT
from lutllm.lowering.hardware.lib.stream import Stream
from lutllm.lowering.machine.accelerator import AcceleratorConfig


def _start(config: AcceleratorConfig) -> int:
    """Cycles from holding a task until what follows from it is there."""
    return 2 + ("window" in config.modes)


def attention_timing(config: AcceleratorConfig) -> dict[str, int]:
    """Words that fit, and cycles. `first`: from holding a task to the stages' first step and the first command. From an
    item's last step of QK^T until its scores may be weighted (`scored`); of AV until a bank of scores and multipliers
    is free (`bank_free`), until a row is gone (`v_freed`), until the item may be divided (`weighted`); of the division
    until a bank of sums is free (`sums_free`), until a word of shifts is gone (`right_freed`), to `done`. From its last
    multiplier until it may be weighted (`loaded`)."""
    return dict(
        k_rows=row_depth(config.head_beats, 0),
        v_rows=row_depth(config.head_beats, weight_stage(config)),
        rights=row_depth(1, rights_ahead(config)),
        first=_start(config) + 1,
        scored=scored_latency(config) + CREDIT,
        bank_free=CREDIT,
        v_freed=weight_stage(config) - 1,
        loaded=LOADED + CREDIT,
        weighted=weighted_latency(config) + CREDIT,
        sums_free=READ_STAGE + CREDIT,
        right_freed=RIGHT_FREED,
        done=DONE,
    )


def attention(design: Design, config: AcceleratorConfig) -> str:
    """Tasks in; of each port of each unit, in order, `k0_command`, `v0_command` .. to the readers of streams k0, v0 ..;
    of each way of each, in order, a read port of a memory q of its own, q0 ..; memory x written.

    `qk_busy`, `av_busy`: a beat of multiplications was issued, a bit a way.
    """
    unit, parameters, drain = (made(design, config) for made in (attention_unit, attention_parameters, attention_drain))
    units, ports, ways = range(config.attention_units), config.attention_ports, config.attention_ways
    cores = range(config.attention_cores)

    def body(m: Module) -> dict[str, Any]:
        done = Wire(1)
        busy, f = held_task(m, config, "attention", done.signal)
        start, job = _prepared(m, config, busy, f)
        begins = [
            dict(start=start, job=record.pack(**{name: job[name] for name in record.widths}))
            for record in (parameters_job(config), job_fields(config), drain_job(config))
        ]
        p = m.instance(parameters, "parameter_stage", **begins[0], p=m["p"])
        base, bits = resized(f["base"], config.address_bits("x")), f["bits"][0:BITS_BITS]
        end = m.instance(drain, "drain_stage", **begins[2], base=base, bits=bits, rights=p["rights"])
        found, result = [], dict[str, Any]()
        drained: dict[str, list[Signal]] = {"sums": [], "total": []}
        for u in units:
            own: dict[str, Any] = _of_unit(m, config, u, f, job)
            own |= {f"{name}_{i}": m[f"{name}{u * ports + i}"] for name in FETCHES for i in range(ports)}
            own |= dict(loaded=p["loaded"].chunks(ways)[u], drained_free=end["drained_free"].chunks(ways)[u])
            for name, parts in drained.items():
                own[name] = Link(end[name].forward, {"data": Wire(end[name].data.width // len(units))})
                parts.append(own[name].data)
            out = m.instance(unit, f"unit_{u}", **begins[1], **own)
            found.append(out)
            result |= {
                f"{name}{u * ports + i}_command": out[f"{name}_{i}_command"] for name in FETCHES for i in range(ports)
            }
            result |= {f"q{u * ways + way}_read": out[f"q_read_{way}"] for way in range(ways)}
            p.connect(**{f"multiplier_{u * ways + way}": out[f"multiplier_{way}"] for way in range(ways)})
        for name, parts in drained.items():
            end[name].drive(data=pack(parts))
        joined = {name: pack([out[name] for out in found]) for name in PULSES}
        p.connect(multipliers_free=joined["item_read"])
        end.connect(weighted=joined["weighted"])
        done.assign(end["done"])
        result |= {name: joined[name] for name in ("qk_busy", "av_busy")}
        return result | dict(x_write=end["x_write"], done=end["done"])

    rows = [f"{name}{i}" for i in range(len(units) * ports) for name in FETCHES]
    inputs = {"task": task_port(config, "attention"), "p": Stream.of(config.p_bits)}
    inputs |= {name: Stream.of(config.part_bits) for name in rows}
    outputs: dict[str, Any] = {f"{name}_command": commands() for name in rows}
    outputs |= {f"q{core}_read": reads(config, "q") for core in cores}
    outputs |= {"x_write": writes(config, "x"), "done": 1, "qk_busy": len(cores), "av_busy": len(cores)}
    return design.module("attention", inputs, outputs, body)


def _prepared(
    m: Module, config: AcceleratorConfig, busy: Signal, f: dict[str, Signal]
) -> tuple[Signal, dict[str, Signal]]:
    """What follows from a task, `_start` cycles after it came: (start pulse, what the stages' jobs have, and the words
    of an item and of a kv head in memory q; with a window also the bytes of rows that are left out)."""
    widths, x_bits, q_bits = job_fields(config).widths, config.address_bits("x"), config.address_bits("q")
    position, low = resized(f["position"], widths["position"]), (config.attention_rows - 1).bit_length()
    # position + tokens, and the words of an item and of a head, keep to the context and to the memories of a model
    rows = position.zext(position.width + 1) + resized(f["tokens"], position.width + 1)
    if low:
        whole = rows[low:]
        rows = whole + rows[0:low].ne(0).zext(whole.width)
    rows = m.reg(resized(rows, widths["rows"]), "rows")
    windowed: dict[str, Signal] = {}
    if "window" in config.modes:
        rows, position, windowed = _windowed(m, config, rows, position, f)
    job = dict(kv_heads=f["kv_heads"], items=f["items"], reps=f["reps"], position=position, rows=rows, **windowed)
    job |= {name: resized(f[name], widths[name]) for name in ("beats", "tokens")}
    if low:
        own = const(1 << low, widths["jump"]) - resized(position[0:low], widths["jump"])
        job["jump"] = m.reg(own * resized(f["beats"], widths["jump"]), "jump")
    words = m.reg(resized(f["tokens"], x_bits) * resized(f["beats"], x_bits), "query_words")
    # In memory q, and in parts of memory x: constants go to the factors, so that no register has bits left over.
    words_q, reps_q = resized(words, q_bits), resized(f["reps"], q_bits)
    parts = resized(f["reps"], x_bits) * (config.attention_ways * (config.head_lanes // config.lanes))
    heads = m.reg(resized(f["items"], q_bits) * reps_q * config.attention_ways, "query_heads")
    head_parts = m.reg(resized(f["items"], x_bits) * parts, "head_parts")
    job |= dict(item_q=m.reg(words_q * reps_q, "item_q"), head_q=m.reg(words_q * heads, "head_q"))
    job |= dict(items_words=m.reg(words * parts, "items_words"), head_words=m.reg(words * head_parts, "head_words"))
    before = m.reg(busy, "busy_before", reset=0)
    ready = all_of([busy, before, m.reg(before & busy, "busy_twice", reset=0)])
    ready = (settled(m, ready, 1, "windowed") if windowed else ready).named("ready")
    return (ready & ~m.reg(ready, "ready_before", reset=0)).named("start"), job


def _windowed(
    m: Module, config: AcceleratorConfig, rows: Signal, position: Signal, f: dict[str, Signal]
) -> tuple[Signal, Signal, dict[str, Signal]]:
    """Rows from the first group on of which a token sees one, as if there were none before: (groups of rows, position,
    what jobs have besides)."""
    low, bits = (config.attention_rows - 1).bit_length(), position.width
    reach, beat_bytes = resized(f["reach"], bits), config.part_bits // 8
    before = (position.zext(bits + 1) - reach.zext(bits + 1)).named("rows_out_of_reach")
    groups = mux(before[bits], const(0, bits + 1), before)[low:]
    groups = m.reg(resized(groups, rows.width), "groups_skipped")
    wide = bits + f["beats"].width
    beats = groups.zext(wide) * f["beats"].zext(wide)
    skipped = m.reg(pack([const(0, (beat_bytes - 1).bit_length()), beats]).zext(64), "bytes_skipped")
    first = pack([const(0, low), groups])[0:bits] if low else groups
    rows, position = m.reg(rows - groups, "rows_left"), m.reg(position - first, "position_left")
    return rows, position, dict(reach=reach, skipped=skipped)


def _of_unit(
    m: Module, config: AcceleratorConfig, unit: int, f: dict[str, Signal], job: dict[str, Signal]
) -> dict[str, Signal]:
    """What a unit is told of its kv heads: the first is number `unit`, the next as many further as there are units."""
    units, ports, q_bits = config.attention_units, config.attention_ports, config.address_bits("q")
    stride, beats = f["head_stride"].zext(STEP_BITS), job["rows"].zext(32) * f["beats"].zext(32)
    first, part, own = (stride * unit).zext(64), (ports - 1).bit_length(), {}
    parts = [m.reg(stride[part:] * i, f"part_{unit}_{i}").zext(64) for i in range(1, ports)]
    for name, field in FETCHES.items():
        address = m.reg(f[field] + first, f"{name}_{unit}")
        if "skipped" in job:
            address = m.reg(address + job["skipped"], f"{name}_{unit}_seen")
        own[f"{name}_address"] = pack([address, *(address + behind for behind in parts)])
    return own | dict(
        head_step=stride * units,
        command_beats=m.reg(beats * (config.part_bits // config.kv_bits), f"command_beats_{unit}"),
        q=resized(f["q"], q_bits) + job["head_q"] * unit,
        **(dict(item_words=job["item_q"]) if config.attention_ways > 1 else {}),
        head_skip=job["head_q"] * (units - 1),
        shift=f["shift"][0:SHIFT_BITS],
        **(dict(softcap=f["softcap"]) if "softcap" in config.modes else {}),
    )
