"""A model's schedule on a target, as soon as it can be had: a quantized model and a target in, its `Plan` out."""

from __future__ import annotations

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.cost.layers import Shortened, shortened, whole_plan
from lutllm.lowering import PASSES as LOWERING_PASSES
from lutllm.lowering import pipelines
from lutllm.lowering.machine.targets import find_target
from lutllm.lowering.schedule.data import Plan
from lutllm.lowering.schedule.read import read_plan
from lutllm.passes import PASSES as LUT_PASSES
from lutllm.passes import run_pipeline
from lutllm.quantized.pretrained import QuantizedModel

PASSES = (*LUT_PASSES, *LOWERING_PASSES)


class Planner:
    """Schedules `model`, with sequences of `context` tokens, for one target after the other. Layers that are alike are
    scheduled a few times only. Modules are not verified between passes: nothing runs on these plans, and what is built
    goes through all of it again."""

    def __init__(self, model: QuantizedModel, context: int) -> None:
        self.model, self.context = model, context
        self.short: Shortened | None = shortened(model)
        self._steps: dict[str, str] = {}

    def plan(self, target: str, row_source: str = "") -> Plan:
        """The plan for a target's name or file."""
        memory = find_target(target).memory.bytes
        if self.short is not None:
            whole = whole_plan(self._scheduled(self.short.model, target, row_source), self.short, memory)
            if whole is not None:
                return whole
            self.short = None
            self._steps.clear()
        return self._scheduled(self.model, target, row_source)

    def _scheduled(self, model: QuantizedModel, target: str, row_source: str) -> Plan:
        if row_source not in self._steps:
            module = model.lut(self.context)
            run_pipeline(module, pipelines.to_steps(row_source), passes=PASSES, verify_each=False)
            self._steps[row_source] = dialect.module_text(module)
        with dialect.context(), ir.Location.unknown():
            module = ir.Module.parse(self._steps[row_source])
        pipeline = pipelines.joined(pipelines.to_placed(target), pipelines.to_schedule())
        run_pipeline(module, pipeline, passes=PASSES, verify_each=False)
        return read_plan(module)
