"""A unit of the attention engine: QK^T, softmax and AV of its kv heads, whose rows it reads through ports of its own.

While an item's values are weighted, the next one's scores are made and the one before is divided; scores, maxima and
sums have two banks each. Rows of keys and values are asked for as soon as the readers take the commands.
"""

from __future__ import annotations

from lutllm.lowering.hardware.attention.attention_parameters import ADDRESS_BITS, MULTIPLIER_BITS
from lutllm.lowering.hardware.attention.attention_walk import job_fields
from lutllm.lowering.hardware.attention.row_fetch import STEP_BITS, row_fetch
from lutllm.lowering.hardware.attention.scores import attention_scores
from lutllm.lowering.hardware.attention.weighted import SHIFT_BITS, attention_weighted, sum_bits, total_bits
from lutllm.lowering.hardware.lib.circt import Design, Module, Signal, Wire
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.numerics import bits_for

FETCHES = {"k": "keys", "v": "values"}  # a stream: the field of a task with its address
EXTERNAL_INPUTS = (
    *(f"{name}_{port}" for name in FETCHES for port in ("command_ready", "valid", "data")),
    "q_read_data",
)
EXTERNAL_OUTPUTS = (
    *(f"{name}_{port}" for name in FETCHES for port in ("command_valid", "command_address", "command_beats", "ready")),
    "q_read", "q_read_address",
)  # fmt: skip


def attention_unit(design: Design, config: AcceleratorConfig) -> str:
    """What it is told is steady from `start` on: the rows of its first kv head at `k_address` and `v_address`, of each
    other `head_step` further; `command_beats` of an item; its queries as `attention_scores` takes them. The rest are
    the ports of its stages."""
    fetch, scores, weighted = row_fetch(design), attention_scores(design, config), attention_weighted(design, config)
    job, q_bits, item_bits = job_fields(config), config.address_bits("q"), bits_for(config.item_words)

    def body(m: Module) -> dict[str, Signal]:
        back = {port: Wire(width) for port, width in design.modules[weighted].outputs.items()}
        f, start = job.unpack(m["job"]), m["start"]
        commands: dict[str, Signal] = {}
        for name in FETCHES:
            command = m.instance(
                fetch, f"{name}_fetch", start=start, address=m[f"{name}_address"], head_step=m["head_step"],
                beats=m["command_beats"], kv_heads=f["kv_heads"], items=f["items"],
                command_ready=m[f"{name}_command_ready"],
            )  # fmt: skip
            commands |= {f"{name}_{port}": signal for port, signal in command.items()}
        queries = ("start", "job", "q", "q_skip", "q_read_data", "k_valid", "k_data")
        qk = m.instance(
            scores, "score_stage", **{port: m[port] for port in queries}, bank_free=back["item_read"].signal,
            **{port: back[port].signal for port in ("score_read", "score_address", "pair_address")},
        )  # fmt: skip
        sums = ("start", "job", "shift", "v_valid", "v_data", "loaded", "multiplier", *_DRAIN)
        av = m.instance(
            weighted, "weighted_stage", **{port: m[port] for port in sums},
            **{port: qk[port] for port in ("scored", "score", "maximum")},
        )  # fmt: skip
        for port, wire in back.items():
            wire.assign(av[port])
        out = {port: qk[port] for port in ("k_ready", "q_read", "q_read_address")} | {"qk_busy": qk["busy"]}
        out |= {port: av[port] for port in ("v_ready", *_RESULTS)} | {"av_busy": av["busy"]}
        return commands | out

    inputs = {"start": 1, "job": job.width, "command_beats": 32, "head_step": STEP_BITS, "shift": SHIFT_BITS}
    inputs |= {"q": q_bits, "q_skip": q_bits, "q_read_data": config.word_bits("q")}
    outputs = {"q_read": 1, "q_read_address": q_bits, "qk_busy": 1, "av_busy": 1}
    for name in FETCHES:
        inputs |= {f"{name}_address": 64, f"{name}_command_ready": 1, f"{name}_valid": 1}
        inputs |= {f"{name}_data": config.row_bits}
        outputs |= {f"{name}_command_valid": 1, f"{name}_command_address": 64, f"{name}_command_beats": 32}
        outputs |= {f"{name}_ready": 1}
    inputs |= {"loaded": 1, "multiplier": MULTIPLIER_BITS, "drained_free": 1, "drain_read": 1}
    inputs |= {"drain_address": item_bits + 1, "total_address": item_bits + 1}
    outputs |= {"multiplier_address": ADDRESS_BITS, "item_read": 1, "weighted": 1, "total": total_bits(config)}
    outputs |= {"drained": config.head_lanes * sum_bits(config)}
    return design.module("attention_unit", inputs, outputs, body)


_DRAIN = ("drained_free", "drain_read", "drain_address", "total_address")
_RESULTS = ("multiplier_address", "item_read", "weighted", "total", "drained")
