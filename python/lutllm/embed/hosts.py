"""A pipeline of lutllm as one pass of another pass manager: in torch_mlir contexts that have the dialect on the module
itself, in all others, of whatever build of MLIR's bindings (CIRCT, IREE, jaxlib), by way of text and a context of ours.

Generic text is what builds of different versions share; bytecode with constants is not. Both sides keep ops of dialects
they do not know as they are.
"""

from __future__ import annotations

from typing import Any

from lutllm import dialect
from lutllm.bindings import capture_diagnostics, ir, load_torch_dialects, passmanager
from lutllm.dialect import Lut
from lutllm.errors import InputError, LutllmError
from lutllm.lowering import PASSES as LOWERING
from lutllm.passes import PASSES, Pass, Pipeline, PipelineError

ALL_PASSES = (*PASSES, *LOWERING)


def add(manager: Any, pipeline: str, *, passes: tuple[type[Pass], ...] = ALL_PASSES) -> None:
    """Add `builtin.module(...)` of lutllm's and MLIR's passes, as lutllm-opt takes it, to a host's `PassManager` of
    modules. Raises `InputError` for a wrong pipeline, at once.

    Where a step fails, its error is the host's, at the same location, and the host's run fails. A context without the
    dialect takes `lut` ops by `allow_unregistered_dialects`, and may have threads; with it, MLIR's threads would wait
    for ever for Python's verifiers.
    """
    checked = Pipeline(pipeline, passes)
    if isinstance(manager, passmanager.PassManager):
        context = ir.Context.current
        if _has_dialect(context) and (threads := context.get_num_threads()) > 1:
            raise InputError(f"expected a context of one thread, got {threads}; call enable_multithreading(False)")
    manager.add(lambda op, pass_: _run(checked, op.operation, pass_), name="lutllm", argument="lutllm")


def _has_dialect(context: ir.Context) -> bool:
    return context.is_dialect_loaded(Lut.DIALECT_NAMESPACE)


def _run(pipeline: Pipeline, op: Any, pass_: Any) -> None:
    try:
        if op.name != "builtin.module":
            raise LutllmError(f"expected a pass manager of builtin.module, got one of {op.name}; add it to one")
        if isinstance(op, ir.Operation) and _has_dialect(op.context):
            pipeline.run(op.opview)
        else:
            _replace(op, run_text(pipeline, op.get_asm(print_generic_op_form=True, enable_debug_info=True)))
    except LutllmError as problem:
        _report(op, problem)
        pass_.signal_pass_failure()


def run_text(pipeline: Pipeline, text: str) -> str:
    """The pipeline on a module's text, in a context of its own."""
    context = dialect.context()
    context.allow_unregistered_dialects = True
    if '"torch' in text:  # a dialect that a pass loads later does not know what was read before
        load_torch_dialects(context)
    with capture_diagnostics(context) as seen, context, ir.Location.unknown():
        try:
            module = ir.Module.parse(text)
        except ir.MLIRError:
            raise PipelineError(seen, "parse") from None
    pipeline.run(module)
    return module.operation.get_asm(print_generic_op_form=True, enable_debug_info=True)


def _replace(op: Any, text: str) -> None:
    """Make a host's module that of the text."""
    new = type(op).parse(text, context=op.context).operation
    block = op.regions[0].blocks[0]
    for old in list(block.operations):
        old.operation.erase()
    for each in list(new.regions[0].blocks[0].operations):
        each.operation.detach_from_parent()
        block.append(each)
    for name in list(op.attributes):
        del op.attributes[name]
    for name in new.attributes:
        op.attributes[name] = new.attributes[name]


def _report(op: Any, problem: LutllmError) -> None:
    """Emit an error at the host's own location."""
    location = op.location
    if problem.location is not None:
        file, line, column = problem.location.rsplit(":", 2)
        location = type(location).file(file, int(line), int(column), context=op.context)
    location.emit_error(problem.message)
