"""Passes of the lut level, and the way to run them: lut IR in, lut IR with the same integers out.

A pass is one file, one class, one flag and one test, all of the same name; `PASSES` lists them.
"""

from lutllm.bindings import ir
from lutllm.passes.lut_canonicalize import LutCanonicalize
from lutllm.passes.lut_decompose import LutDecompose
from lutllm.passes.lut_outline_head import LutOutlineHead
from lutllm.passes.lut_symbol_dce import LutSymbolDce
from lutllm.passes.pass_base import Pass, PassFailure
from lutllm.passes.runner import Observer, Pipeline, PipelineError

PASSES: tuple[type[Pass], ...] = (
    LutCanonicalize,
    LutDecompose,
    LutOutlineHead,
    LutSymbolDce,
)


def run_pipeline(
    module: ir.Module, pipeline: str, *, passes: tuple[type[Pass], ...] = PASSES, verify_each: bool = True
) -> None:
    """Run e.g. `builtin.module(lut-decompose{row-source=built_row},canonicalize,cse)` on a torch_mlir module in place.

    Names not in `passes` are MLIR's. Raises `InputError` for a wrong pipeline, `PipelineError` where a step fails.
    """
    Pipeline(pipeline, passes).run(module, verify_each=verify_each)
