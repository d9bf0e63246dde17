"""`lut-quantize`: the float level and what quantization decided in, integers out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lutllm import dialect, store
from lutllm.bindings import ir
from lutllm.errors import InputError, IRError
from lutllm.lowering.quantize.forms import Unquantizable
from lutllm.lowering.quantize.functions import declare_parameters, write_functions
from lutllm.lowering.quantize.graph import FloatGraph
from lutllm.passes import Pass
from lutllm.quantization import Quantization, read_quantization


@dataclass(frozen=True)
class LutQuantize(Pass):
    """Replace every op of the float level by integer ops, with the constants that quantization found for its name.

    `quantization` names the directory with quantization.json, or that file. A model that reads tokens becomes @prefill,
    @decode and @score over a KV cache of `context` tokens (0: as many as RoPE has positions), any other @forward.
    """

    name: ClassVar[str] = "lut-quantize"
    anchor: ClassVar[str | None] = "builtin.module"
    quantization: str = ""
    context: int = 0

    def run(self, op: ir.Operation) -> None:
        if not self.quantization:
            raise InputError(f"{self.name}: expected quantization=DIRECTORY, got none; name the quantizer's output")
        quantization, graph = read_quantization(self.quantization), FloatGraph(op)
        module: Any = op.opview
        old = list(module.body.operations)
        try:
            with ir.Location.unknown():
                write_functions(module, graph, quantization, self.context)
            for each in reversed(old):
                each.operation.erase()
            _finish(module, quantization)
        except Unquantizable as found:
            *others, last = found.problems
            for problem in others:
                self.note(problem.op, problem.message)
            self.fail(last.op, last.message)

    def note(self, op: Any, message: str) -> None:
        """One of several errors."""
        op.operation.location.emit_error(f"'{op.operation.name}' op {message}")


def lut_module(module: ir.Module, quantization: Quantization, context: int = 0) -> ir.Module:
    """What the pass makes, as a new module in the same context, verified; `IRError` where there is no integer form."""
    with module.context, ir.Location.unknown():
        made = ir.Module.create()
        write_functions(made, FloatGraph(module), quantization, context)
        _finish(made, quantization)
    if not dialect.verify(made):
        raise IRError("expected a valid program of the model, got the diagnostics above; quantize the model again")
    return made


def _finish(module: ir.Module, quantization: Quantization) -> None:
    """Declare what the functions need, and say of which store."""
    declare_parameters(module)
    if quantization.sha256 is not None:
        module.operation.attributes["lut.store"] = dialect.store_attr(store.PARAMETERS, quantization.sha256)
