"""The float level against PyTorch: a module and example inputs in, structural ops that compute the same results out.

Every whole model that is imported goes through here: the ops run in the interpreter, on random ids, beside the module
itself. Where results differ, values are compared op by op with what the modules got and gave, to name the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lutllm import dialect, interpreter, lowering, passes
from lutllm.bindings import func, ir, source_position
from lutllm.errors import IRError
from lutllm.importer import ImportedModule, import_module
from lutllm.importer.torch_run import Calls, Parameters, run_torch
from lutllm.lowering.pipelines import to_float
from lutllm.lowering.raising.linears import module_path
from lutllm.lowering.raising.reader import argument_kind
from lutllm.models.hf import require

TOLERANCE = 1e-4  # of the largest value; sums of float32 in another order stay far below


@dataclass
class FloatModel(ImportedModule):
    """The float level of a model. `float_error` is the largest error of its results, as a part of the largest; `torch`
    is the text of the torch level it was raised from."""

    float_error: float = 0.0
    torch: str = ""


class Disagreement(IRError):
    """The float level computes something else than PyTorch; `name` and `module` are those of the first op to do so."""

    def __init__(self, op: Any, error: float, before: str) -> None:
        self.op, self.name = op.operation.name, op.attributes["name"].value
        self.module, self.error = module_path(op.location) or "", error
        super().__init__(
            f"expected '{self.op}' op '{self.name}' in module '{self.module}' to compute what PyTorch does, got a "
            f"value that is {error:.1e} of the largest away (at most {TOLERANCE:.0e}); {before}; "
            "this is a defect of raising",
            location=source_position(op.location),
        )


def import_float(module: Any, example_args: Sequence[Any], *, seed: int = 0) -> FloatModel:
    """Import `module`, raise it to the float level and compare; `IRError` at the first op that cannot be raised, or
    whose value is not PyTorch's."""
    imported = import_module(module, example_args)
    text = imported.text()
    raise_to_float(imported.module)
    error = float_error(module, example_args, imported, seed)
    return FloatModel(imported.module, imported.parameters, error, text)


def raise_to_float(module: ir.Module) -> None:
    """Torch level in, float level out, in place; the error says what cannot be raised."""
    passes.run_pipeline(module, to_float(), passes=(*passes.PASSES, *lowering.PASSES))


def float_error(module: Any, example_args: Sequence[Any], raised: ImportedModule, seed: int = 0) -> float:
    """The largest error of `@forward` on random ids and inputs shaped as the examples, as a part of the largest value;
    `Disagreement` above TOLERANCE."""
    function = next(op for op in raised.module.body.operations if isinstance(op, func.FuncOp))
    arguments, inputs = _random(example_args, function, raised, seed)
    parameters = Parameters(raised.parameters)
    wanted, calls = run_torch(module, arguments)
    got = interpreter.run(raised.module, inputs, parameters)
    error = max((_error(a, b) for a, b in zip(got, wanted, strict=True)), default=0.0)
    if not error <= TOLERANCE:  # NaN too
        search = _Search(list(function.entry_block.operations)[:-1], calls)
        interpreter.run(raised.module, inputs, parameters, trace=search.compare)
        raise Disagreement(search.ops[-1], error, search.before)
    return error


def _random(
    example_args: Sequence[Any], function: Any, raised: ImportedModule, seed: int
) -> tuple[list[Any], list[np.ndarray]]:
    """Arguments for PyTorch and for `@forward`: ids and inputs are random, positions and masks are the examples'."""
    torch = require("torch")
    generator = torch.Generator().manual_seed(seed)
    of_forward = iter(function.arguments)
    arguments, inputs = [], []
    for example in example_args:
        value = example.float() if example.is_floating_point() else example
        kind = argument_kind(list(example.shape), example.is_floating_point())
        if kind == "input":
            next(of_forward)
            value = torch.randn(example.shape, generator=generator)
            inputs.append(value.reshape(example.shape[-2:]).numpy())
        elif kind == "integers":
            argument = next(of_forward)
            position = argument.type.shape == [1]
            if not position:
                value = torch.randint(_vocabulary(argument, raised), example.shape, generator=generator)
            inputs.append(value.reshape(-1)[: 1 if position else None].numpy())
        arguments.append(value)
    return arguments, inputs


def _vocabulary(ids: ir.Value, raised: ImportedModule) -> int:
    """The rows of the smallest embedding that reads these ids."""
    readers = [use.owner.opview for use in ids.uses]
    tables = [op.weight.value for op in readers if isinstance(op, dialect.FloatEmbeddingOp) and op.position is None]
    return min((len(raised.parameters[table]) for table in tables), default=1)


class _Search:
    """Compares the values of ops, in order, with what modules got and gave; raises `Disagreement` at the first."""

    def __init__(self, ops: Sequence[Any], calls: Calls) -> None:
        self.ops, self.before = ops, "no op before it could be compared"
        self.values: dict[ir.Value, np.ndarray] = {}
        self.outputs: dict[str, Any] = {}
        self.inputs: dict[str, Any] = {}
        paths = [module_path(op.location) or "" for op in ops]
        for path, made in calls.items():
            inside = [op for op, p in zip(ops, paths, strict=True) if not path or f"{p}.".startswith(f"{path}.")]
            if len(made) == 1 and inside:  # what a module gives is the value of the last op in it
                self.outputs[_name(inside[-1])] = made[0].output
            if len(made) == len(inside):  # a module for each op, called once or more
                for op, call in zip(inside, made, strict=True):
                    self.outputs[_name(op)] = call.output
                    if isinstance(op, dialect.FloatLinearOp | dialect.FloatNormOp):
                        self.inputs[_name(op)] = call.input

    def compare(self, op: Any, value: Any) -> None:
        self.values[op.operation.results[0]] = value
        name, x = _name(op), op.operation.operands[0]
        if name in self.inputs and x in self.values:
            self._check(x.owner, self.values[x], self.inputs[name])
        if name in self.outputs:
            self._check(op, value, self.outputs[name])
            self.before = f"'{name}' is the last before it that is equal"

    def _check(self, op: Any, value: np.ndarray, wanted: Any) -> None:
        error = _error(value, wanted)
        if not error <= TOLERANCE:
            raise Disagreement(op, error, self.before)


def _name(op: Any) -> str:
    return op.attributes["name"].value


def _error(value: np.ndarray, wanted: Any) -> float:
    """The largest difference of [T, K] and a tensor of as many elements, as a part of the largest element."""
    if wanted is None or wanted.numel() != value.size:
        return 0.0
    # Heads may come before tokens in the module's layout.
    where = next((i for i, size in enumerate(wanted.shape) if size == len(value)), 0)
    other = wanted.movedim(where, 0).reshape(value.shape).numpy()
    scale = float(np.abs(other).max(initial=0.0))
    return float(np.abs(value - other).max(initial=0.0)) / (scale or 1.0)
