"""What a pass moves to and from external memory: a plan and a pass in, bytes by port out."""

from __future__ import annotations

from collections import Counter

from lutllm.lowering.machine.accelerator import HEAD_MODES
from lutllm.lowering.place.rounds import stream_bytes
from lutllm.lowering.schedule.data import Plan, Task
from lutllm.simulate.transactions.passes import Pass


def traffic(plan: Plan, each: Pass) -> dict[str, int]:
    """Bytes that one run of a task list reads and writes, by port; w, k and v stand for all ports of their streams."""
    found: Counter[str] = Counter()
    for task in plan.program(each.program):
        found.update(task_traffic(plan, task, each))
    return dict(found)


def task_traffic(plan: Plan, task: Task, each: Pass) -> dict[str, int]:
    """Of one task of a pass."""
    config, f = plan.config, task.fields
    tokens = 1 if task.single else each.tokens
    found = {"d": 8 * config.task_words(task.engine)}
    if task.parameters is not None:
        found["p"] = task.parameters.beats * (each.tokens if task.per_token else 1) * config.p_bits // 8
    if task.engine == "linear":
        sizes = stream_bytes(plan.rounds[task.round], config.engine)
        found |= sizes | {"w": sizes["w"] * config.engine.weight_ports}
    elif task.engine == "attention":
        items = config.attention_units * f["kv_heads"] * f["items"]
        groups = config.row_groups(each.position + tokens) - config.skipped_groups(each.position, f)
        rows = items * groups * f["beats"] * config.rows_bits // 8
        found |= {"k": rows, "v": rows}
    elif task.engine == "heads" and HEAD_MODES[f["mode"]] in ("key", "value"):
        found["kv"] = f["heads"] * f["head_words"] * tokens * config.lanes
    elif task.engine == "embed":
        found["e"] = (1 + f["words"]) * tokens * config.e_bits // 8
    elif task.engine == "load":
        found["x"] = f["words"] * tokens * config.load_bits // 8
    elif task.engine == "save":
        found["y"] = f["words"] * tokens * config.save_bits // 8
    return found
