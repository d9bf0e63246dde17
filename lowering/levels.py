"""The levels a program goes through, and what may stand at each; the driver checks the contract after each stage."""

from __future__ import annotations

from dataclasses import dataclass

from lutllm.bindings import ir, source_position
from lutllm.errors import IRError


@dataclass(frozen=True)
class Level:
    """`dialects` may appear, and of `lut` only `lut_ops` where given. `executed_by` says what runs the level."""

    name: str
    dialects: tuple[str, ...]
    lut_ops: tuple[str, ...] | None
    executed_by: str


_PLACES = (
    "lut.machine",
    "lut.linear_engine",
    "lut.memory",
    "lut.fifo",
    "lut.cluster",
    "lut.yield",
    "lut.layout",
    "lut.buffer",
    "lut.region",
    "lut.round",
)
_DECODER = (
    "lut.embedding",
    "lut.rms_norm",
    "lut.rescale",
    "lut.rope",
    "lut.append",
    "lut.attention",
    "lut.add",
    "lut.swiglu",
    "lut.last_token",
    "lut.argmax",
)
_FLOAT = (
    "lut.float_embedding",
    "lut.float_norm",
    "lut.float_linear",
    "lut.float_rope",
    "lut.float_attention",
    "lut.float_gated",
    "lut.float_add",
)
_STEPS = (
    "lut.centroid_search",
    "lut.stored_table",
    "lut.built_table",
    "lut.built_row",
    "lut.exact_row",
    "lut.table_lookup",
    "lut.prefix_sum",
    "lut.requantize",
)
_INTEGERS = ("builtin", "func", "ml_program", "lut")
LEVELS = {
    level.name: level
    for level in (
        Level("torch", ("builtin", "func", "ml_program", "torch", "torch_c"), (), "PyTorch"),
        Level("float", ("builtin", "func", "ml_program", "lut"), _FLOAT, "the reference interpreter, in floats"),
        Level(
            "mixed",
            ("builtin", "func", "ml_program", "torch", "torch_c", "lut"),
            ("lut.scheme", "lut.quantize", "lut.linear", "lut.dequantize"),
            "nothing yet: PyTorch around lookups",
        ),
        Level("lut", _INTEGERS, ("lut.scheme", "lut.linear", *_DECODER), "the reference interpreter"),
        Level("steps", _INTEGERS, ("lut.scheme", *_STEPS, *_DECODER), "the reference interpreter"),
        Level("placed", _INTEGERS, ("lut.scheme", *_PLACES, *_STEPS, *_DECODER), "the reference interpreter"),
        Level(
            "scheduled",
            _INTEGERS,
            ("lut.scheme", "lut.task", *_PLACES, *_STEPS, *_DECODER),
            "the reference interpreter, the transaction-level simulator",
        ),
    )
}


def check_level(module: ir.Module, name: str) -> None:
    """Raise `IRError` at the first op that level `name` does not allow."""
    level = LEVELS[name]
    found: list[ir.Operation] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        dialect = op.name.split(".")[0]
        allowed = dialect in level.dialects and (dialect != "lut" or level.lut_ops is None or op.name in level.lut_ops)
        if not allowed:
            found.append(op)
            return ir.WalkResult.INTERRUPT
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit, ir.WalkOrder.PRE_ORDER)
    if found:
        raise IRError(
            f"'{found[0].name}' op may not stand at level {name}, which has {', '.join(level.dialects)} only",
            location=source_position(found[0].location),
        )
