"""Bring lut ops to one form where several mean the same integers. lut level in and out."""

from dataclasses import dataclass
from typing import ClassVar

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.passes.pass_base import Pass
from lutllm.passes.walk import erase_dead, ops_in


@dataclass(frozen=True)
class LutCanonicalize(Pass):
    """Drop dead lut ops and the attributes of lut.linear that its result does not depend on.

    * `row_source` where the scheme allows one only;
    * `tables` where `row_source` names a source that builds its rows; lut-symbol-dce can then drop the stored tables,
      and `lut-decompose{row-source=stored_table}` is refused from then on.

    Merging equal ops is left to `cse`. Nothing that rounds or saturates is folded: that would change integers.
    """

    name: ClassVar[str] = "lut-canonicalize"

    def run(self, op: ir.Operation) -> None:
        for linear in ops_in(op, dialect.LinearOp):
            _drop_unread_attributes(linear)
        erase_dead(op)


def _drop_unread_attributes(op: dialect.LinearOp) -> None:
    source = op.attributes["row_source"].value if "row_source" in op.attributes else None
    only_one = len(dialect.scheme_of(op).row_sources) == 1
    if "tables" in op.attributes and (only_one or source not in (None, "stored_table")):
        del op.attributes["tables"]
    if source is not None and only_one:
        del op.attributes["row_source"]
