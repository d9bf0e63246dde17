"""A module through the levels: each written to `ir/` and checked to hold what its level allows."""

from __future__ import annotations

from lutllm import dialect
from lutllm.bindings import ir, load_torch_dialects
from lutllm.compiler.job import Job
from lutllm.lowering import PASSES as LOWERING_PASSES
from lutllm.lowering.levels import check_level
from lutllm.passes import PASSES as LUT_PASSES
from lutllm.passes import run_pipeline

PASSES = (*LUT_PASSES, *LOWERING_PASSES)


class Levels:
    """Writes `ir/STEM.LEVEL.mlir` for a job."""

    def __init__(self, job: Job, stem: str) -> None:
        self.job, self.stem = job, stem

    def lower(self, module: ir.Module, pipeline: str, level: str) -> ir.Module:
        """`module` after `pipeline`, as `level`; the one given stays as it is."""
        lowered = copy_of(module)
        run_pipeline(lowered, pipeline, passes=PASSES)
        return self.reached(lowered, level)

    def reached(self, module: ir.Module, level: str) -> ir.Module:
        """`module`, which is at `level`, written."""
        check_level(module, level)
        self.job.write(f"ir/{self.stem}.{level}.mlir", dialect.module_text(module))
        return module


def parsed(text: str, context: ir.Context | None = None) -> ir.Module:
    """A module of any level in a context of its own."""
    context = context or dialect.context()
    if "torch." in text:
        load_torch_dialects(context)
    with context, ir.Location.unknown():
        return ir.Module.parse(text)


def copy_of(module: ir.Module) -> ir.Module:
    """The same module in a context of its own."""
    return parsed(dialect.module_text(module))
