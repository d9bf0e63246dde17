"""What ops without a rule are for in models that have them: an op in, what it would take to convert it out."""

from __future__ import annotations

from lutllm.bindings import ir

_UNDONE = "expected an op of a norm, RoPE, attention, an activation or a sum"
NO_PATTERN = f"{_UNDONE}, got another; no lut op computes it"
NO_TORCH_OP = "torch-mlir does not know this op: rewrite this part of the model with other ops"
NO_LINEAR = (
    "expected a linear, a product with a parameter [outputs, inputs], got a parameter of another layout or a part of "
    "one; make it an nn.Linear of its own"
)
_EXPERTS = (
    f"{_UNDONE}, got the choice of rows by computed numbers, as a router's of experts; it would take a lut op that "
    "picks experts by their scores, and linears that read the codes of the picked one from those of all"
)
_STATE = (
    f"{_UNDONE}, got a step from token to token, as of a state space; it would take a lut op that keeps a state beside "
    "the KV cache, with an integer form of this step"
)
_FUNCTION = f"{_UNDONE}, got another function; it would take a table of it, as those of silu, gelu and tanh"
_INSIDE = (
    f"{_UNDONE}, got a mask, a size or a constant made inside the model; it would take to compute it before export"
)

_NAMES = {
    _EXPERTS: "topk sort argsort histc bincount nonzero one_hot searchsorted index.Tensor index_put index_add "
    "index_select gather scatter.src scatter.value scatter_add div.Tensor div.Tensor_mode",
    _STATE: "cumsum select.int flip unbind.int stack",
    f"{_STATE}; a convolution of size 1 is an nn.Linear": "convolution",
    _FUNCTION: "exp log1p log softplus sqrt clamp minimum maximum elu leaky_relu sigmoid erf reciprocal abs sign",
    _INSIDE: "arange arange.start_step full full_like empty_like empty_strided ones zeros zeros_like gt.Scalar "
    "le.Scalar lt.Scalar eq.Scalar Int.bool bitwise_not logical_and logical_not constant_pad_nd tril triu "
    "masked_fill.Scalar prim.NumToTensor.Scalar prims.squeeze",
    NO_LINEAR: "mm addmm addmv mv",
}
_OF = {name: text for text, names in _NAMES.items() for name in names.split()}
_OPERATORS = {"grouped_mm": _EXPERTS, "histc": _EXPERTS}  # parts of names that the torch dialect does not know


def missing(op: ir.Operation, name: str) -> str:
    """What is said of an op called `name` that no rule reads."""
    if op.name != "torch.operator":
        return _OF.get(name, NO_PATTERN)
    of = ir.StringAttr(op.attributes["name"]).value
    return next((text for part, text in _OPERATORS.items() if part in of), NO_TORCH_OP)
