"""What moves over each memory port in a run: a plan and the passes in, beats by stream out. Exact, from the plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lutllm.lowering.accelerator import HEAD_MODES
from lutllm.lowering.accelerator_hw.top import read_ports, write_ports
from lutllm.lowering.engine_hw.core import weight_streams
from lutllm.lowering.schedule.data import Plan, Task
from lutllm.lowering.schedule.descriptors import list_words
from lutllm.transactions.passes import Pass
from lutllm.transactions.steps import attention_steps


def stream_beats(plan: Plan, passes: Sequence[Pass]) -> dict[str, int]:
    """Beats of each master; without the image's header."""
    names = (*read_ports(plan.config), *write_ports(plan.config))
    total: Counter[str] = Counter(dict.fromkeys(names, 0))
    for each in passes:
        for task in plan.program(each.program):
            total.update(_beats(plan, each, task))
    return dict(total)


def _beats(plan: Plan, each: Pass, task: Task) -> dict[str, int]:
    config, f, p = plan.config, task.fields, task.parameters
    found = {"d": list_words(task, config)}
    if p is not None:
        found["p"] = p.beats * (each.tokens if task.per_token else 1)
    if task.engine == "linear":
        round_, bits = plan.rounds[task.round], config.engine.port_bits
        names = {"c": round_.c, "q": round_.q} | dict(zip(weight_streams(config.engine), round_.w, strict=True))
        found |= {name: plan.regions[region].size * 8 // bits[name[0]] for name, region in names.items()}
    elif task.engine == "attention":
        steps = attention_steps(config, task, each.tokens, each.position)
        found |= dict.fromkeys(("k", "v"), steps.items * steps.rows)
    elif task.engine == "heads" and HEAD_MODES[f["mode"]] in ("key", "value"):
        found["kv"] = f["heads"] * each.tokens * f["head_words"] * config.lanes // config.head_lanes
    elif task.engine == "embed":
        found["e"] = each.tokens * (1 + f["words"])
    elif task.engine in ("load", "save"):
        found["x" if task.engine == "load" else "y"] = each.tokens * f["words"]
    return found
