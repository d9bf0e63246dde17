"""The steps of an import: module to exported program, to MLIR, to torch-level IR. A step that fails is one error."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch

from lutllm import dialect
from lutllm.bindings import (
    capture_diagnostics,
    fx_decomp_util,
    fx_importer,
    ir,
    load_torch_dialects,
    ops_below,
    passmanager,
    source_position,
)
from lutllm.errors import LutllmError
from lutllm.importer.canonical import canonicalize
from lutllm.importer.externalize import Externalize, LocatedContext, canonical_names, canonical_paths
from lutllm.importer.torch_locations import module_path, position, raised_at
from lutllm.models.hf import one_line

# Ops that stay whole: what is converted to `lut`, and what would otherwise become a dozen ops that hide it.
KEPT = ("linear", "silu", "scaled_dot_product_attention", "addmm", "_softmax", "layer_norm")
_PIPELINE = (
    "builtin.module(func.func(torch-match-quantized-custom-ops),"
    "torchdynamo-export-to-torch-backend-pipeline{{backend-legal-ops={legal} extra-library=}})"
)


def export(module: torch.nn.Module, args: tuple[Any, ...], dynamic_shapes: Any = None) -> Any:
    """`torch.export` in inference mode, decomposed to what torch-mlir knows, with the ops of `KEPT` left whole."""
    training = module.training
    module.eval()
    try:
        with torch.no_grad(), _quiet():
            program = torch.export.export(module, args, dynamic_shapes=dynamic_shapes, strict=False)
            return canonicalize(program.run_decompositions(_decompositions()))
    except Exception as error:
        raise LutllmError(
            f"expected a module torch.export can trace with these example inputs, got {one_line(error)}; "
            "change the module or the inputs",
            location=raised_at(error),
        ) from None
    finally:
        module.train(training)


@contextmanager
def _quiet() -> Iterator[None]:
    """A failing export prints the graph so far and logs at several levels; the one error raised is enough."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _decompositions() -> dict[Any, Any]:
    kept = {getattr(torch.ops.aten, name) for name in KEPT}
    table = fx_decomp_util.get_decomposition_table()
    return {op: f for op, f in table.items() if op._overloadpacket not in kept}


def lower_to_torch(
    program: Any, module: torch.nn.Module, prefix: str, function: str
) -> tuple[ir.Module, dict[str, torch.Tensor]]:
    """Import the exported program, then run torch-mlir's clean-up to value semantics; (IR, tensor of each global)."""
    imported, tensors = import_program(program, module, prefix, function)
    passes = _PIPELINE.format(legal=",".join(f"aten.{name}" for name in KEPT))
    with imported.context, capture_diagnostics(imported.context) as seen:
        unknown = unknown_ops(imported)
        try:
            passmanager.PassManager.parse(passes).run(imported.operation)
        except ir.MLIRError as error:
            raise _lowering_error(error, seen, unknown) from None
    return imported, tensors


def import_program(
    program: Any, module: torch.nn.Module, prefix: str, function: str
) -> tuple[ir.Module, dict[str, torch.Tensor]]:
    """The exported program as MLIR, one op for one ATen op; ops torch-mlir does not know are `torch.operator`."""
    context = dialect.context()
    load_torch_dialects(context)
    hooks = Externalize(canonical_names(module, prefix))
    with context, ir.Location.unknown():
        importer = fx_importer.FxImporter(context=context, hooks=hooks)
        importer._cc = LocatedContext(context, prefix, canonical_paths(module))
        try:
            importer.import_program(program, func_name=function)
        except LutllmError:
            raise
        except Exception as error:
            raise _import_error(error, program) from None
    return importer.module, hooks.tensors


def unknown_ops(module: ir.Module) -> dict[str, list[ir.Location]]:
    """Ops the torch dialect has no definition of, by name, with their locations."""
    found: dict[str, list[ir.Location]] = {}

    for op in ops_below(module.operation):
        if op.name == "torch.operator":
            found.setdefault(ir.StringAttr(op.attributes["name"]).value.removeprefix("torch."), []).append(op.location)
    return found


def _lowering_error(error: Exception, seen: list[Any], unknown: dict[str, list[ir.Location]]) -> LutllmError:
    """All unknown ops in one message where there are any, else what MLIR said first."""
    first = next((d for d in seen if d.severity == "error"), None)
    if unknown:
        names = ", ".join(f"{name} ({len(where)}x)" for name, where in unknown.items())
        return LutllmError(
            f"expected ops torch-mlir knows, got {names}; rewrite these parts of the model",
            location=source_position(next(iter(unknown.values()))[0]),
        )
    if first is None:
        return LutllmError(f"expected ops torch-mlir can lower, got {one_line(error)}; change the module")
    return LutllmError(
        f"expected ops torch-mlir can lower, got: {first.message[:300]}; change the module", location=first.location
    )


def _import_error(error: Exception, program: Any) -> LutllmError:
    """What torch-mlir could not import, at the PyTorch line of the node in question where that is known."""
    what, where = one_line(error), None
    for node in program.graph.nodes:
        if node.op == "call_function" and str(node.target) in str(error):
            what += f" in module '{module_path(node)}'"
            where = position(node)
            break
    return LutllmError(f"expected ops torch-mlir can import, got {what}; change the module", location=where)
