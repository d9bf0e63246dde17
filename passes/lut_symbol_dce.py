"""Remove what nobody uses: pure lut ops without users, then globals without references. lut level in and out."""

import re
from dataclasses import dataclass
from typing import ClassVar

from lutllm.bindings import ir
from lutllm.passes.pass_base import Pass
from lutllm.passes.walk import erase_dead

GLOBAL = "ml_program.global"
_REFERENCE = re.compile(r'@(?:"((?:[^"\\]|\\.)*)"|([A-Za-z_][\w$.]*))')
_ESCAPE = re.compile(r"\\([0-9A-Fa-f]{2})|\\(.)")


@dataclass(frozen=True)
class LutSymbolDce(Pass):
    """Remove dead lut ops and the private globals that no attribute and no type names.

    MLIR's symbol-dce looks at attributes only and would delete exponents that stand in nothing but a value's type,
    `tensor<..., #lut.fixed<16, @exponents>>`; here such a name is a use. Public globals stay.
    """

    name: ClassVar[str] = "lut-symbol-dce"
    anchor: ClassVar[str | None] = "builtin.module"

    def run(self, op: ir.Operation) -> None:
        erase_dead(op)
        while unused := _unused_globals(op):
            self.statistics["globals-removed"] += len(unused)
            for dead in unused:
                dead.erase()


def _unused_globals(module: ir.Operation) -> list[ir.Operation]:
    globals_ = {op.attributes["sym_name"].value: op for op in _body(module) if op.name == GLOBAL}
    candidates = [(n, op) for n, op in globals_.items() if _visibility(op) == "private"]
    used = set().union(*map(references, _body(module)), _attribute_references(module))
    return [op for name, op in candidates if name not in used]


def _body(module: ir.Operation) -> list[ir.Operation]:
    return [op.operation for op in module.regions[0].blocks[0].operations]


def _visibility(op: ir.Operation) -> str:
    return op.attributes["sym_visibility"].value if "sym_visibility" in op.attributes else "public"


def references(op: ir.Operation) -> set[str]:
    """Every `@name` in the generic text of `op`: wherever an attribute or a type hides it, the printer shows it.

    The generic form prints the name an op defines as a string, without `@`; a string that merely looks like a
    reference keeps a global alive, which is safe.
    """
    return _names(op.get_asm(print_generic_op_form=True, large_elements_limit=16, large_resource_limit=16))


def _attribute_references(op: ir.Operation) -> set[str]:
    return set().union(*(_names(str(attribute)) for attribute in op.attributes.values()))


def _names(text: str) -> set[str]:
    return {_unescape(quoted) if quoted else plain for quoted, plain in _REFERENCE.findall(text)}


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else m[2], text)
