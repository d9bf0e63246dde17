"""Split `lut.linear` into the steps an engine takes: search, rows, lookup, sum, requantize. lut level in and out."""

from dataclasses import dataclass
from typing import Any, ClassVar

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.errors import InputError
from lutllm.passes.pass_base import Pass
from lutllm.passes.walk import ops_in
from lutllm.scheme import ROW_SOURCES, Scheme

_OF_RESULT = ("weights", "shift", "unbiased")  # attributes that lut.requantize has, too
_BUILDERS = {"built_table": dialect.built_table, "built_row": dialect.built_row}


@dataclass(frozen=True)
class LutDecompose(Pass):
    """Split every lut.linear into centroid search, row source, table lookup, prefix sum and requantizer.

    `row-source` chooses where rows come from in every linear whose scheme allows it. Without it a linear's own
    `row_source` decides, and without that `built_row`, or `exact_row` for exact schemes. A linear of the other kind
    keeps its own choice, so that one pipeline serves a model of mixed schemes.
    """

    name: ClassVar[str] = "lut-decompose"
    row_source: str = ""

    def __post_init__(self) -> None:
        known = [source for sources in ROW_SOURCES.values() for source in sources]
        if self.row_source not in ("", *known):
            raise InputError(f"expected row-source to be one of {', '.join(known)}, got '{self.row_source}'")

    def run(self, op: ir.Operation) -> None:
        for linear in ops_in(op, dialect.LinearOp):
            self._decompose(linear)

    def _decompose(self, op: dialect.LinearOp) -> None:
        scheme = dialect.scheme_of(op)
        source = self._choose(op, scheme)
        named = {name: op.attributes[name].value for name in ("scheme", "weights")}
        outputs = op.y.type.shape[-1]
        with ir.InsertionPoint(op), op.location:
            rows = _rows(op, source, {**named, "blocks": scheme.blocks(outputs)})
            acc = dialect.prefix_sum(dialect.table_lookup(rows, **named, outputs=outputs))
            y = ir.Operation.create(
                "lut.requantize",
                results=[op.y.type],
                operands=[acc],
                attributes={name: op.attributes[name] for name in _OF_RESULT if name in op.attributes},
            ).result
        op.y.replace_all_uses_with(y)
        op.operation.erase()

    def _choose(self, op: dialect.LinearOp, scheme: Scheme) -> str:
        own = op.attributes["row_source"].value if "row_source" in op.attributes else ""
        wanted = self.row_source if self.row_source in scheme.row_sources else own
        source = wanted or {"vq": "built_row", "exact": "exact_row"}[scheme.kind]
        if source == "stored_table" and "tables" not in op.attributes:
            self.fail(op, "expected attribute 'tables' for row-source=stored_table, got none; choose another")
        return source


def _rows(op: dialect.LinearOp, source: str, named: dict[str, Any]) -> ir.Value:
    """The row source and, for vector-quantized activations, the search before it."""
    x = op.operation.operands[0]
    if source == "exact_row":
        return dialect.exact_row(x, **named)
    codebook = op.attributes["codebook"].value
    indices = dialect.centroid_search(x, scheme=named["scheme"], codebook=codebook)
    if source == "stored_table":
        return dialect.stored_table(indices, **named)
    return _BUILDERS[source](indices, **named, codebook=codebook)
