"""Remove unused pure lut ops, then the globals and schemes that nothing names. lut level in and out."""

import re
from dataclasses import dataclass
from typing import ClassVar

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.dialect.symbols import op_parameters
from lutllm.passes.pass_base import Pass
from lutllm.passes.walk import erase_dead, ops_in

GLOBAL = "ml_program.global"
SCHEME = dialect.SchemeOp.OPERATION_NAME
_REFERENCE = re.compile(r'@(?:"((?:[^"\\]|\\.)*)"|([A-Za-z_][\w$.]*))')
_ESCAPE = re.compile(r"\\([0-9A-Fa-f]{2})|\\(.)")


@dataclass(frozen=True)
class LutSymbolDce(Pass):
    """Remove dead lut ops, and the schemes and private globals that no attribute, no type and no `weights` names.

    MLIR's symbol-dce looks at attributes only. It would delete the arrays of a linear, of which its `weights` says the
    first part of the name, and exponents that stand in nothing but a value's type,
    `tensor<..., #lut.fixed<16, @exponents>>`; here both are uses. Public globals stay.
    """

    name: ClassVar[str] = "lut-symbol-dce"
    anchor: ClassVar[str | None] = "builtin.module"

    def run(self, op: ir.Operation) -> None:
        erase_dead(op)
        while unused := _unused(op):
            self.statistics["symbols-removed"] += len(unused)
            for dead in unused:
                dead.erase()


def _unused(module: ir.Operation) -> list[ir.Operation]:
    used = set().union(*map(references, _body(module)), *(_names(str(each)) for each in module.attributes.values()))
    used |= {p.symbol for op in ops_in(module, dialect.LutOp) for p in op_parameters(op)}
    candidates = [op for op in _body(module) if op.name == SCHEME or (op.name == GLOBAL and _is_private(op))]
    return [op for op in candidates if op.attributes["sym_name"].value not in used]


def _body(module: ir.Operation) -> list[ir.Operation]:
    return [op.operation for op in module.regions[0].blocks[0].operations]


def _is_private(op: ir.Operation) -> bool:
    return "sym_visibility" in op.attributes and op.attributes["sym_visibility"].value == "private"


def references(op: ir.Operation) -> set[str]:
    """Every `@name` in the generic text of `op`: wherever an attribute or a type hides it, the printer shows it.

    The generic form prints the name an op defines as a string, without `@`; a string that merely looks like a
    reference keeps a global alive, which is safe.
    """
    return _names(op.get_asm(print_generic_op_form=True, large_elements_limit=16, large_resource_limit=16))


def _names(text: str) -> set[str]:
    found = _REFERENCE.findall(text)
    return {_ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else m[2], quoted) or plain for quoted, plain in found}
