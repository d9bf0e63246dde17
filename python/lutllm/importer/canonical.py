"""Linears by another name: an exported program in, whose products with a parameter are `aten.linear` where they are
linear layers, out.

A product with a matrix that is a parameter transposed - `x @ weight.T`, `addmm`, an `einsum` - is one. The choice of
one index becomes a slice.
"""

from __future__ import annotations

from typing import Any

import torch

_aten = torch.ops.aten
_PRODUCTS = (_aten.mm.default, _aten.bmm.default, _aten.addmm.default)
# What changes the layout of a tensor and nothing else.
_LAYOUT: tuple[Any, ...] = (
    *(_aten.permute.default, _aten.transpose.int, _aten.t.default, _aten.view.default, _aten.unsqueeze.default),
    *(_aten.squeeze.dim, _aten.clone.default, _aten._unsafe_view.default),
)


def canonicalize(program: Any) -> Any:
    """Rewrite the program's graph in place: locations and names stay."""
    parameters = program.graph_signature.inputs_to_parameters
    for node in program.graph.nodes:
        if node.target in _PRODUCTS:
            _product(node, parameters)
        elif node.target is _aten.add.Tensor:
            _bias(node, parameters)
        elif node.target is _aten.index.Tensor:
            _index(node, program)
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()
    return program


def _product(node: Any, parameters: dict[str, str]) -> None:
    """[T, K] times [K, N], or [1, T, K] times [1, K, N], plus a bias where it is `addmm`."""
    *bias, x, matrix = node.args
    weight, order = _laid_out(matrix, parameters)
    if weight is None or order is None or node.kwargs or weight.meta["val"].dim() != 2:
        return
    if torch.equal(order.squeeze(0) if order.dim() == 3 else order, _numbered(weight).t()):
        node.target, node.args = _aten.linear.default, (x, weight, *bias)


def _bias(node: Any, parameters: dict[str, str]) -> None:
    """A parameter added to a linear without a bias, which nothing else reads."""
    total, bias = node.args
    linear = total
    while linear.target in (_aten.view.default, _aten._unsafe_view.default) and len(linear.users) == 1:
        linear = linear.args[0]
    alone = linear.target is _aten.linear.default and len(linear.args) == 2 and len(linear.users) == 1
    named = isinstance(bias, torch.fx.Node) and bias.name in parameters and not node.kwargs
    if alone and named and len(total.users) == 1 and bias.meta["val"].shape == linear.meta["val"].shape[-1:]:
        linear.args = (*linear.args, bias)
        node.replace_all_uses_with(total)


def _laid_out(node: Any, parameters: dict[str, str]) -> tuple[Any, torch.Tensor | None]:
    """(the parameter that a value is but for its layout, or None; where its numbers went)."""
    if not isinstance(node, torch.fx.Node):
        return None, None
    if node.op == "placeholder":
        return (node, _numbered(node)) if node.name in parameters else (None, None)
    change: Any = node.target
    if change not in _LAYOUT:
        return None, None
    weight, order = _laid_out(node.args[0], parameters)
    return weight, None if order is None else change(order, *node.args[1:], **node.kwargs)


def _numbered(node: Any) -> torch.Tensor:
    shape = tuple(node.meta["val"].shape)
    return torch.arange(torch.Size(shape).numel()).reshape(shape)


def _index(node: Any, program: Any) -> None:
    """One index of one dimension, a constant."""
    x, indices = node.args
    (dimension, index), *others = [(i, index) for i, index in enumerate(indices) if index is not None]
    while isinstance(index, torch.fx.Node) and index.target in (_aten.clone.default, _aten.lift_fresh_copy.default):
        index = index.args[0]
    name = program.graph_signature.inputs_to_lifted_tensor_constants.get(getattr(index, "name", None))
    value = program.constants.get(name)
    if not others and isinstance(value, torch.Tensor) and value.numel() == 1 and not value.is_floating_point():
        at = int(value) % x.meta["val"].shape[dimension]
        node.target, node.args = _aten.slice.Tensor, (x, dimension, at, at + 1)
