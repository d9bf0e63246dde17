"""Which outputs of a linear share weight codebooks, where nobody says: a float graph in, the outputs of a block out.

Hardware wants whole heads in a block, or whole slices where others take parts; see docs/usage.md.
"""

from __future__ import annotations

from math import gcd, lcm

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.lowering.quantize.graph import FloatGraph, name_of

LANES = 128  # of the widest target: whole chunks of them make a block
BLOCK = 1024  # outputs that share weight codebooks: fewer cost more bits than they gain


def blocks_of(graph: FloatGraph) -> dict[str, int]:
    """The block of each linear by name."""
    return {name_of(op): even_block(op.y.type.shape[1], *_parts(graph, op.y)) for op in graph.of(dialect.FloatLinearOp)}


def even_block(outputs: int, unit: int = 1, slices: int = 0) -> int:
    """Outputs of a block: all, where they are no more than BLOCK; else whole heads of `unit`, and of LANES where both
    fit, so that blocks are about as large as each other. A multiple of blocks makes up `slices`, if any; all outputs
    are a block where it would have fewer than LANES."""
    if outputs <= BLOCK:
        return outputs
    if slices:
        most = max((n for n in range(unit, BLOCK + 1, unit) if slices % n == 0), default=0)
        return most if most >= LANES else outputs
    step = lcm(LANES, unit) if lcm(LANES, unit) <= BLOCK else unit
    each = -(-outputs // -(-outputs // BLOCK))
    return max(step, min(-(-each // step), BLOCK // step) * step)


def _parts(graph: FloatGraph, value: ir.Value) -> tuple[int, int]:
    """(channels of a head, or 1; what divides all slices that are taken, or 0) of a value."""
    unit, slices, channels = 1, 0, value.type.shape[1]
    for op in graph.readers(value):
        heads = 1
        if isinstance(op, dialect.FloatSliceOp):
            groups, start = int(op.groups.value), int(op.start.value)
            slices = gcd(slices, channels // groups, start, op.y.type.shape[1] // groups)
            unit = lcm(unit, _parts(graph, op.y)[0])
        elif isinstance(op, dialect.FloatAttentionOp):
            heads = int((op.heads if op.query == value else op.kv_heads).value)
        elif isinstance(op, dialect.FloatRopeOp):
            heads = int(op.heads.value)
        elif isinstance(op, dialect.FloatNormOp):
            heads = int(op.groups.value)
        unit = lcm(unit, channels // heads) if heads > 1 else unit
    return unit, slices
