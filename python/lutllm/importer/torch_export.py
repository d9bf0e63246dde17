"""The two steps of an import: module to exported program, program to torch-level IR. One located error if a step fails."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch

from lutllm import dialect
from lutllm.bindings import capture_diagnostics, fx_decomp_util, fx_importer, ir, load_torch_dialects, passmanager
from lutllm.errors import LutllmError
from lutllm.importer.externalize import Externalize, LocatedContext, canonical_names, canonical_paths
from lutllm.importer.torch_locations import module_path, position, raised_at
from lutllm.models.hf import one_line

# Ops that stay whole: what is converted to `lut`, and what would otherwise become a dozen ops that hide it.
KEPT = ("linear", "silu", "scaled_dot_product_attention", "addmm", "_softmax")
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
            return program.run_decompositions(_decompositions())
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
    context = dialect.context()
    load_torch_dialects(context)
    hooks = Externalize(canonical_names(module, prefix))
    with context, ir.Location.unknown(), capture_diagnostics(context) as seen:
        importer = fx_importer.FxImporter(context=context, hooks=hooks)
        importer._cc = LocatedContext(context, prefix, canonical_paths(module))
        try:
            importer.import_program(program, func_name=function)
            passes = _PIPELINE.format(legal=",".join(f"aten.{name}" for name in KEPT))
            passmanager.PassManager.parse(passes).run(importer.module_op)
        except LutllmError:
            raise
        except Exception as error:
            raise _import_error(error, seen, program) from None
    return importer.module, hooks.tensors


def _import_error(error: Exception, seen: list[Any], program: Any) -> LutllmError:
    """What torch-mlir could not import, at the PyTorch line of the node in question where that is known."""
    first = next((d for d in seen if d.severity == "error"), None)
    if first is not None:
        return LutllmError(
            f"expected ops torch-mlir can import, got: {first.message}; change the module", location=first.location
        )
    what, where = one_line(error), None
    for node in program.graph.nodes:
        if node.op == "call_function" and str(node.target) in str(error):
            what += f" in module '{module_path(node)}'"
            where = position(node)
            break
    return LutllmError(f"expected ops torch-mlir can import, got {what}; change the module", location=where)
