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

LEADS = (2, 4)  # periods of layers until schedules repeat; weights are fetched some rounds ahead
PASSES = (*LUT_PASSES, *LOWERING_PASSES)


class Planner:
    """Schedules `model`, with sequences of `context` tokens, for one target after the other. Layers that are alike are
    scheduled a few times only. Modules are not verified between passes: nothing runs on these plans, and what is built
    goes through all of it again."""

    def __init__(self, model: QuantizedModel, context: int) -> None:
        self.model, self.context = model, context
        self.short = self._shorter(0)
        self._steps: dict[str, str] = {}

    def plan(self, target: str) -> Plan:
        """The plan for a target's name or file."""
        found = find_target(target)
        memory, row_source = found.memory.bytes, found.model.row_source
        while self.short is not None:
            whole = whole_plan(self._scheduled(self.short.model, target, row_source), self.short, memory)
            if whole is not None:
                return whole
            self.short = self._shorter(self.short.lead)
            self._steps.clear()
        return self._scheduled(self.model, target, row_source)

    def _shorter(self, than: int) -> Shortened | None:
        """What is scheduled instead of the model, with more periods of lead than `than`."""
        leads = (lead for lead in LEADS if lead > than)
        return next((found for lead in leads if (found := shortened(self.model, lead)) is not None), None)

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
