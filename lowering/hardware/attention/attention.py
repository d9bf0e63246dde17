"""The attention engine: QK^T, softmax and AV, and the division at the end, on items that follow each other.

While an item's values are weighted, the next one's scores are made and the one before is divided; scores, maxima and
sums have two banks each. Rows of keys and values are asked for as soon as the readers take the commands.
"""

from __future__ import annotations

from lutllm.lowering.hardware.attention.attention_parameters import (
    LOADED,
    RIGHTS_AHEAD,
    attention_parameters,
    parameters_job,
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
from lutllm.lowering.hardware.attention.row_fetch import row_fetch
from lutllm.lowering.hardware.attention.scores import attention_scores, scored_latency
from lutllm.lowering.hardware.attention.weighted import SHIFT_BITS, WEIGHT_STAGE, WEIGHTED, attention_weighted
from lutllm.lowering.hardware.control.task import held_task, task_inputs
from lutllm.lowering.hardware.lib.circt import CREDIT, Design, Module, Signal, Wire, all_of
from lutllm.lowering.machine.accelerator import AcceleratorConfig

_START = 2  # cycles from holding a task until what follows from it is there
_STAGES = (attention_parameters, attention_scores, attention_weighted, attention_drain)


def attention_timing(config: AcceleratorConfig) -> dict[str, int]:
    """Words that fit, and cycles. `first`: from holding a task to the stages' first step and the first command. From an
    item's last step of QK^T until its scores may be weighted (`scored`); of AV until a bank of scores and multipliers
    is free (`bank_free`), until a row is gone (`v_freed`), until the item may be divided (`weighted`); of the division
    until a bank of sums is free (`sums_free`), until a word of shifts is gone (`right_freed`), to `done`. From its last
    multiplier until it may be weighted (`loaded`)."""
    return dict(
        k_rows=row_depth(config.head_beats, 0),
        v_rows=row_depth(config.head_beats, WEIGHT_STAGE),
        rights=row_depth(1, RIGHTS_AHEAD),
        first=_START + 1,
        scored=scored_latency(config) + CREDIT,
        bank_free=CREDIT,
        v_freed=WEIGHT_STAGE - 1,
        loaded=LOADED + CREDIT,
        weighted=WEIGHTED + CREDIT,
        sums_free=READ_STAGE + CREDIT,
        right_freed=RIGHT_FREED,
        done=DONE,
    )


def attention(design: Design, config: AcceleratorConfig) -> str:
    """Tasks in; `k_command`, `v_command` to the readers of streams k and v; memory q read, memory x written.

    `qk_busy`, `av_busy`: a beat of multiplications was issued.
    """
    stages, fetch = [stage(design, config) for stage in _STAGES], row_fetch(design)

    def body(m: Module) -> dict[str, Signal]:
        done = Wire(1)
        busy, f, task_ready = held_task(m, "attention", done.signal)
        start, jobs, beats = _prepared(m, config, busy, f)
        commands: dict[str, Signal] = {}
        for name, field in (("k", "keys"), ("v", "values")):
            command = m.instance(
                fetch, f"{name}_fetch", start=start, address=f[field], head_stride=f["head_stride"], beats=beats,
                kv_heads=f["kv_heads"], items=f["items"], command_ready=m[f"{name}_command_ready"],
            )  # fmt: skip
            commands |= {f"{name}_{port}": signal for port, signal in command.items()}
        out = _connected(m, config, stages, start, jobs, f)
        done.assign(out["done"])
        return commands | out | dict(task_ready=task_ready)

    inputs = task_inputs("attention") | {"p_valid": 1, "p_data": config.p_bits}
    inputs |= {"k_valid": 1, "k_data": config.kv_bits, "v_valid": 1, "v_data": config.kv_bits}
    inputs |= {"k_command_ready": 1, "v_command_ready": 1, "q_read_data": config.word_bits("q")}
    outputs = {"task_ready": 1, "p_ready": 1, "k_ready": 1, "v_ready": 1}
    for name in "kv":
        outputs |= {f"{name}_command_valid": 1, f"{name}_command_address": 64, f"{name}_command_beats": 32}
    outputs |= {"q_read": 1, "q_read_address": config.address_bits("q")}
    outputs |= {"x_write": 1, "x_write_address": config.address_bits("x"), "x_write_data": config.word_bits("x")}
    return design.module("attention", inputs, outputs | {"done": 1, "qk_busy": 1, "av_busy": 1}, body)


def _prepared(
    m: Module, config: AcceleratorConfig, busy: Signal, f: dict[str, Signal]
) -> tuple[Signal, list[Signal], Signal]:
    """What follows from a task, two cycles after it came: (start pulse, jobs of the stages, beats of a command)."""
    widths = job_fields(config).widths
    position = resized(f["position"], widths["position"])
    # position + tokens and kv_heads * items keep to the context and to the heads of a model
    rows = m.reg(position + resized(f["tokens"], widths["rows"]), "rows")
    items = m.reg(f["kv_heads"] * f["items"].zext(16), "items")
    beats = m.reg(rows.zext(32) * f["beats"].zext(32), "command_beats")
    job = dict(items=items, reps=f["reps"], position=position, rows=rows)
    job |= {name: resized(f[name], widths[name]) for name in ("beats", "tokens")}
    before = m.reg(busy, "busy_before", reset=0)
    ready = all_of([busy, before, m.reg(before & busy, "busy_twice", reset=0)]).named("ready")
    start = (ready & ~m.reg(ready, "ready_before", reset=0)).named("start")
    records = (parameters_job(config), job_fields(config), job_fields(config), drain_job(config))
    return start, [record.pack(**{name: job[name] for name in record.widths}) for record in records], beats


def _connected(
    m: Module, config: AcceleratorConfig, stages: list[str], start: Signal, jobs: list[Signal], f: dict[str, Signal]
) -> dict[str, Signal]:
    """The four stages, each reading what the one before it stores."""
    back: dict[str, Wire] = {}

    def later(stage: str, port: str) -> Signal:
        """An output of a stage that is instantiated further down."""
        if port not in back:
            back[port] = Wire(m.design.modules[stage].outputs[port])
        return back[port].signal

    parameters, scores, weighted, drain = stages
    begins = [dict(start=start, job=job) for job in jobs]
    p = m.instance(
        parameters, "parameter_stage", **begins[0], p_valid=m["p_valid"], p_data=m["p_data"],
        multipliers_free=later(weighted, "item_read"), multiplier_address=later(weighted, "multiplier_address"),
        right_taken=later(drain, "right_taken"), right_freed=later(drain, "right_freed"),
    )  # fmt: skip
    qk = m.instance(
        scores, "score_stage", **begins[1], q=resized(f["q"], config.address_bits("q")), k_valid=m["k_valid"],
        k_data=m["k_data"], bank_free=later(weighted, "item_read"), q_read_data=m["q_read_data"],
        **{port: later(weighted, port) for port in ("score_read", "score_address", "pair_address")},
    )  # fmt: skip
    av = m.instance(
        weighted, "weighted_stage", **begins[2], shift=f["shift"][0:SHIFT_BITS], v_valid=m["v_valid"],
        v_data=m["v_data"], scored=qk["scored"], score=qk["score"], maximum=qk["maximum"], loaded=p["loaded"],
        multiplier=p["multiplier"],
        **{port: later(drain, port) for port in ("drained_free", "drain_read", "drain_address", "total_address")},
    )  # fmt: skip
    end = m.instance(
        drain, "drain_stage", **begins[3], base=resized(f["base"], config.address_bits("x")),
        bits=f["bits"][0:BITS_BITS], weighted=av["weighted"], total=av["total"], drained=av["drained"],
        right_there=p["right_there"], rights=p["rights"],
    )  # fmt: skip
    for port, wire in back.items():
        wire.assign((av | end)[port])
    out = {port: end[port] for port in ("x_write", "x_write_address", "x_write_data", "done")}
    out |= {port: qk[port] for port in ("k_ready", "q_read", "q_read_address")}
    return out | dict(p_ready=p["p_ready"], v_ready=av["v_ready"], qk_busy=qk["busy"], av_busy=av["busy"])
