"""A unit of the attention engine: QK^T, softmax and AV of its kv heads, whose rows it reads through ports of its own,
of which each has a part of every group of rows.

It has several ways, each for items of its own: all of them use a row at a time. In a way, while an item's values are
weighted, the next one's scores are made and the one before is divided; scores, maxima and sums have two banks each.
Rows of keys and values are asked for as soon as the readers take the commands.
"""

from __future__ import annotations

from typing import Any

from lutllm.lowering.hardware.attention.attention_parameters import multiplier_port
from lutllm.lowering.hardware.attention.attention_walk import job_fields
from lutllm.lowering.hardware.attention.capped import SOFTCAP_BITS
from lutllm.lowering.hardware.attention.row_fetch import STEP_BITS, row_fetch
from lutllm.lowering.hardware.attention.scores import attention_scores
from lutllm.lowering.hardware.attention.weighted import SHIFT_BITS, attention_weighted, sums_port, total_port
from lutllm.lowering.hardware.control.records import reads
from lutllm.lowering.hardware.lib.axi import commands
from lutllm.lowering.hardware.lib.bundle import Link, Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import all_of, const, pack
from lutllm.lowering.hardware.lib.stream import Stream
from lutllm.lowering.machine.accelerator import AcceleratorConfig

_TOLD = ("loaded", "drained_free")
PULSES = ("qk_busy", "av_busy", "weighted", "item_read")
FETCHES = {"k": "keys", "v": "values"}  # a stream: the field of a task with its address


def unit_ports(config: AcceleratorConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """What of a unit each of its ports has, in and out: a stream of rows, and its commands."""
    names = [f"{name}_{i}" for name in FETCHES for i in range(config.attention_ports)]
    return {name: Stream.of(config.part_bits) for name in names}, {f"{name}_command": commands() for name in names}


def attention_unit(design: Design, config: AcceleratorConfig) -> str:
    """What it is told is steady from `start` on: the rows of its first kv head at `k_address` and `v_address` of each
    port, of each other `head_step` further; `command_beats` of an item; its queries as `attention_scores` takes them,
    those of the ways `item_words` apart. The rest are the ports of its stages, of each way its part or its own."""
    ports, job, ways = range(config.attention_ports), job_fields(config), range(config.attention_ways)
    fetch, q_bits = row_fetch(design), config.address_bits("q")
    stages, softcap = (attention_scores(design, config), attention_weighted(design, config)), "softcap" in config.modes

    def body(m: Module) -> dict[str, Any]:
        f, out = job.unpack(m["job"]), dict[str, Any]()
        rows: dict[str, list[Stream]] = {}
        for name in FETCHES:
            shared = {port: m[port] for port in ("start", "head_step")} | {n: f[n] for n in ("kv_heads", "items")}
            for i, place in zip(ports, m[f"{name}_address"].chunks(64), strict=True):
                fetching = dict(address=place, beats=m["command_beats"], **shared)
                out[f"{name}_{i}_command"] = m.output_of(fetch, f"{name}_fetch_{i}", **fetching)
            rows[name] = _to_all([m[f"{name}_{i}"] for i in ports], len(ways))
        found = [
            _way(m, way, stages, {name: streams[way] for name, streams in rows.items()}, softcap=softcap)
            for way in ways
        ]
        for name in ("sums", "total"):
            m[name].drive(data=pack([way.pop(name) for way in found]))
        for name in ("q_read", "multiplier"):
            out |= {f"{name}_{i}": way.pop(name) for i, way in enumerate(found)}
        return out | {name: pack([way[name] for way in found]) for name in PULSES}

    inputs: dict[str, Any] = {"start": 1, "job": job.width, "command_beats": 32, "head_step": STEP_BITS}
    inputs |= {"shift": SHIFT_BITS, "q": q_bits, "head_skip": q_bits} | dict.fromkeys(_TOLD, len(ways))
    inputs |= {"softcap": SOFTCAP_BITS} if "softcap" in config.modes else {}
    inputs |= {f"{name}_address": len(ports) * 64 for name in FETCHES}
    inputs |= {"item_words": q_bits} if len(ways) > 1 else {}
    inputs |= {"sums": sums_port(config, len(ways)), "total": total_port(config, len(ways))}
    given, outputs = unit_ports(config)
    outputs |= {f"q_read_{way}": reads(config, "q") for way in ways}
    outputs |= {f"multiplier_{way}": multiplier_port() for way in ways} | dict.fromkeys(PULSES, len(ways))
    return design.module("attention_unit", inputs | given, outputs, body)


def _to_all(streams: list[Stream], count: int) -> list[Stream]:
    """Words of all streams together, to `count` takers: they move when all have them, and all takers room."""
    moves, data = Wire(1), pack([stream.data for stream in streams])
    found = [Stream(moves.signal, data=data) for _ in range(count)]
    room = all_of([taker.ready for taker in found])
    moves.assign(all_of([*(stream.valid for stream in streams), room]))
    for stream in streams:
        stream.drive(ready=all_of([room, *(other.valid for other in streams if other is not stream)]))
    return found


def _way(m: Module, way: int, stages: tuple[str, str], rows: dict[str, Stream], *, softcap: bool) -> dict[str, Any]:
    """The two stages of a way."""
    ways, shared = m["loaded"].width, dict(start=m["start"], job=m["job"])
    told = dict(shift=m["shift"]) | (dict(softcap=m["softcap"]) if softcap else {})
    item = m["item_words"] if ways > 1 else const(0, m["q"].width)
    skips = dict(item_skip=item * (ways - 1), head_skip=m["head_skip"] + item * (ways - 1))
    qk = m.instance(stages[0], f"score_stage_{way}", k=rows["k"], q=m["q"] + item * way, **shared, **skips)
    sums, total = m["sums"], m["total"]
    drained = dict(
        sums=Link(sums.forward, {"data": Wire(sums.data.width // ways)}),
        total=Link(total.forward, {"data": Wire(total.data.width // ways)}),
    )
    av = m.instance(
        stages[1], f"weighted_stage_{way}", v=rows["v"], scored=qk["scored"], loaded=m["loaded"][way],
        drained_free=m["drained_free"][way], **told, **shared, **drained,
    )  # fmt: skip
    qk.connect(score=av["score"], maximum=av["maximum"], bank_free=av["item_read"])
    pulses = dict(qk_busy=qk["busy"], av_busy=av["busy"], weighted=av["weighted"], item_read=av["item_read"])
    own = {name: link.data for name, link in drained.items()}
    return pulses | own | dict(q_read=qk["q_read"], multiplier=av["multiplier"])
