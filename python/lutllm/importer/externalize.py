"""Hooks of the FX importer: tensors become external globals under their PyTorch names, ops carry their module path.

The importer's own way writes every weight into the IR through `tolist()`, nine seconds for 50 MB.
"""

from __future__ import annotations

from typing import Any

import torch

from lutllm.bindings import fx_importer, ir
from lutllm.errors import LutllmError
from lutllm.importer.torch_locations import module_path, node_location, position


class Externalize(fx_importer.FxImporterHooks):  # type: ignore[name-defined]  # (lazy import)
    """Gives every parameter, buffer and tensor constant a global; `tensors` holds them by symbol name."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names
        self.tensors: dict[str, torch.Tensor] = {}
        self._constants = 0

    def resolve_input(self, gni: Any, value: Any, info: Any) -> ir.Value | None:
        target = info.input_spec.target
        if value.dim() == 0:
            return None  # a number, which says what the model computes
        return self._load(gni, self.names.get(target, target), value)

    def resolve_literal(self, gni: Any, literal: Any, info: Any) -> ir.Value | None:
        if not isinstance(literal, torch.Tensor) or literal.dim() == 0:
            return None
        self._constants += 1
        return self._load(gni, f"constant.{self._constants}", literal)

    def store_produced_value(self, gni: Any, py_value: Any, produced_ir_value: Any, info: Any) -> None:
        node = next((n for n in info.program.graph.nodes if n.name == info.store_producer_node), None)
        raise LutllmError(
            f"expected a forward pass without side effects, got a change of the buffer '{info.input_spec.target}'; "
            "make it an input and an output",
            location=position(node) if node else None,
        )

    def _load(self, gni: Any, name: str, tensor: torch.Tensor) -> ir.Value:
        type_ = _signless(fx_importer.create_mlir_tensor_type(tensor))
        if name not in self.tensors:
            self.tensors[name] = tensor
            with gni.fx_importer._m_ip, ir.Location.name(name):
                ir.Operation.create(
                    "ml_program.global",
                    attributes={
                        "sym_name": ir.StringAttr.get(name),
                        "sym_visibility": ir.StringAttr.get("private"),
                        "type": ir.TypeAttr.get(type_),
                        "value": ir.Attribute.parse(f"#ml_program.extern : {type_}"),
                    },
                )
        with ir.Location.name(name):
            symbol = {"global": ir.FlatSymbolRefAttr.get(name)}
            load = ir.Operation.create("ml_program.global_load_const", results=[type_], attributes=symbol)
            result = gni._cc.tensor_to_vtensor_type(tensor)
            return ir.Operation.create("torch_c.from_builtin_tensor", results=[result], operands=[load.result]).result


def _signless(type_: ir.RankedTensorType) -> ir.RankedTensorType:
    """A builtin tensor as torch-mlir's conversions take it."""
    element: ir.Type = type_.element_type
    if isinstance(element, ir.IntegerType):
        element = ir.IntegerType.get_signless(element.width)
    return ir.RankedTensorType.get(type_.shape, element)


class LocatedContext(fx_importer.ContextCache):  # type: ignore[name-defined]  # (lazy import)
    """The importer's per-context cache, with locations that name the PyTorch module."""

    __slots__ = ("_aliases", "_prefix")

    def __init__(self, context: ir.Context, prefix: str, aliases: dict[str, str]) -> None:
        super().__init__(context)
        self._prefix = prefix
        self._aliases = aliases

    def get_node_location(self, node: Any) -> ir.Location | None:
        path = module_path(node)
        return node_location(node, (self._prefix + self._aliases.get(path, path)).rstrip("."), self._c)


def canonical_names(module: torch.nn.Module, prefix: str) -> dict[str, str]:
    """Every name of every parameter and buffer -> the symbol of the first name, so that tied tensors are one global."""
    first: dict[int, str] = {}
    names = {}
    for kind in (module.named_parameters, module.named_buffers):
        for name, tensor in kind(remove_duplicate=False):
            names[name] = prefix + first.setdefault(id(tensor), name)
    return names


def canonical_paths(module: torch.nn.Module) -> dict[str, str]:
    """Every path of every submodule -> its first path, the one `named_modules` lists."""
    first: dict[int, str] = {}
    return {path: first.setdefault(id(m), path) for path, m in module.named_modules(remove_duplicate=False)}
