"""A unit of the attention engine: QK^T, softmax and AV of its kv heads, whose rows it reads through ports of its own,
of which each has a part of every group of rows.

It has several ways, each for items of its own: all of them use a row at a time. In a way, while an item's values are
weighted, the next one's scores are made and the one before is divided; scores, maxima and sums have two banks each.
Rows of keys and values are asked for as soon as the readers take the commands.
"""

from __future__ import annotations

from lutllm.lowering.hardware.attention.attention_parameters import ADDRESS_BITS, MULTIPLIER_BITS
from lutllm.lowering.hardware.attention.attention_walk import job_fields
from lutllm.lowering.hardware.attention.row_fetch import STEP_BITS, row_fetch
from lutllm.lowering.hardware.attention.scores import attention_scores
from lutllm.lowering.hardware.attention.weighted import SHIFT_BITS, attention_weighted, sum_bits, total_bits
from lutllm.lowering.hardware.lib.bundle import Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Signal, all_of, const, pack
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.numerics import bits_for

FETCHES = {"k": "keys", "v": "values"}  # a stream: the field of a task with its address
ROW_INPUTS = tuple(f"{name}_{port}" for name in FETCHES for port in ("command_ready", "valid", "data"))
ROW_OUTPUTS = tuple(
    f"{name}_{port}" for name in FETCHES for port in ("command_valid", "command_address", "command_beats", "ready")
)
ROW_BITS = {"command_address": 64, "command_beats": 32}  # of a port; of `data`, what it has of a word, of others one
_STEADY = ("start", "job")
_TO_ALL = ("drain_read", "drain_address", "total_address")
_TO_WAYS = ("loaded", "multiplier", "drained_free")  # and memory q
_RESULTS = ("multiplier_address", "item_read", "weighted", "total", "drained")


def attention_unit(design: Design, config: AcceleratorConfig) -> str:
    """What it is told is steady from `start` on: the rows of its first kv head at `k_address` and `v_address` of each
    port, of each other `head_step` further; `command_beats` of an item; its queries as `attention_scores` takes them,
    those of the ways `item_words` apart. The rest are the ports of its stages, of each way its part, and of each port,
    the first lowest."""
    ports, job, q_bits, ways = (
        config.attention_ports,
        job_fields(config),
        config.address_bits("q"),
        config.attention_ways,
    )
    fetch, scores, weighted = (
        row_fetch(design, ports),
        attention_scores(design, config),
        attention_weighted(design, config),
    )

    def body(m: Module) -> dict[str, Signal]:
        f = job.unpack(m["job"])
        out: dict[str, Signal] = {}
        for name in FETCHES:
            command = m.instance(
                fetch, f"{name}_fetch", start=m["start"], address=m[f"{name}_address"], head_step=m["head_step"],
                beats=m["command_beats"], kv_heads=f["kv_heads"], items=f["items"],
                command_ready=m[f"{name}_command_ready"],
            )  # fmt: skip
            out |= {f"{name}_{port}": signal for port, signal in command.items()}
        ready = {name: Wire(1) for name in FETCHES}  # rows go to all ways, when all ports have them and all ways room
        there = {name: m[f"{name}_valid"].chunks(1) for name in FETCHES}
        rows = {f"{name}_valid": all_of([*there[name], ready[name].signal]) for name in FETCHES}
        found = [_way(m, way, scores, weighted, rows) for way in range(ways)]
        for name, wire in ready.items():
            wire.assign(all_of([way[f"{name}_ready"] for way in found]))
            others = [there[name][:i] + there[name][i + 1 :] for i in range(ports)]
            out[f"{name}_ready"] = pack([all_of([wire.signal, *some]) for some in others])
        return out | {port: pack([way[port] for way in found]) for port in found[0] if port not in out}

    item_bits = bits_for(config.item_words)
    inputs = {"start": 1, "job": job.width, "command_beats": 32, "head_step": STEP_BITS, "shift": SHIFT_BITS}
    inputs |= {"q": q_bits, "head_skip": q_bits} | ({"item_words": q_bits} if ways > 1 else {})
    inputs |= {"drain_read": 1, "drain_address": item_bits + 1, "total_address": item_bits + 1}
    outputs = dict[str, int]()
    for name in FETCHES:
        inputs |= {f"{name}_address": ports * 64, f"{name}_command_ready": ports, f"{name}_valid": ports}
        inputs |= {f"{name}_data": config.rows_bits}
        outputs |= {f"{name}_command_valid": ports, f"{name}_command_address": ports * 64}
        outputs |= {f"{name}_command_beats": 32, f"{name}_ready": ports}
    of_ways = {"loaded": 1, "multiplier": MULTIPLIER_BITS, "drained_free": 1, "q_read_data": config.word_bits("q")}
    inputs |= {port: ways * bits for port, bits in of_ways.items()}
    of_ways = {"q_read": 1, "q_read_address": q_bits, "qk_busy": 1, "av_busy": 1, "weighted": 1, "item_read": 1}
    of_ways |= {"multiplier_address": ADDRESS_BITS, "total": total_bits(config)}
    of_ways |= {"drained": config.head_lanes * sum_bits(config)}
    outputs |= {port: ways * bits for port, bits in of_ways.items()}
    return design.module("attention_unit", inputs, outputs, body)


def _way(m: Module, way: int, scores: str, weighted: str, rows: dict[str, Signal]) -> dict[str, Signal]:
    """The two stages of a way."""
    made = m.design.modules
    back = {port: Wire(width) for port, width in made[weighted].gives.items()}
    own = {port: m[port].chunks(made[weighted].takes[port])[way] for port in _TO_WAYS}
    ways = m["loaded"].width
    item = m["item_words"] if ways > 1 else const(0, m["q"].width)
    qk = m.instance(
        scores, f"score_stage_{way}", **{port: m[port] for port in _STEADY}, q=m["q"] + item * way,
        item_skip=item * (ways - 1), head_skip=m["head_skip"] + item * (ways - 1), bank_free=back["item_read"].signal,
        q_read_data=m["q_read_data"].chunks(made[scores].takes["q_read_data"])[way], k_valid=rows["k_valid"],
        k_data=m["k_data"], **{port: back[port].signal for port in ("score_read", "score_address", "pair_address")},
    )  # fmt: skip
    av = m.instance(
        weighted, f"weighted_stage_{way}", **{port: m[port] for port in (*_STEADY, *_TO_ALL, "shift")}, **own,
        v_valid=rows["v_valid"], v_data=m["v_data"], **{port: qk[port] for port in ("scored", "score", "maximum")},
    )  # fmt: skip
    for port, wire in back.items():
        wire.assign(av[port])
    out = {port: qk[port] for port in ("k_ready", "q_read", "q_read_address")} | {"qk_busy": qk["busy"]}
    return out | {port: av[port] for port in ("v_ready", *_RESULTS)} | {"av_busy": av["busy"]}
