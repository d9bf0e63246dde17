"""How lutllm-opt prints IR: an operation in, bytes out, as options such as `--mlir-print-op-generic` want it."""

import argparse
from dataclasses import dataclass
from typing import Self

from lutllm.bindings import ir


@dataclass(frozen=True)
class Form:
    """One choice for everything that is printed: the result, dumps of IR, reproducers."""

    generic: bool = False
    debug_info: bool = False
    local_scope: bool = False
    elements_limit: int | None = None
    resource_limit: int | None = None

    @classmethod
    def of(cls, options: argparse.Namespace) -> Self:
        return cls(
            options.mlir_print_op_generic,
            options.mlir_print_debuginfo,
            options.mlir_print_local_scope,
            options.mlir_elide_elementsattrs_if_larger,
            options.mlir_elide_resource_strings_if_larger,
        )

    def text(self, op: ir.Operation) -> bytes:
        """The text of `op`, ending in one newline."""
        text: bytes = op.get_asm(
            binary=True,
            print_generic_op_form=self.generic,
            enable_debug_info=self.debug_info,
            use_local_scope=self.local_scope,
            large_elements_limit=self.elements_limit,
            large_resource_limit=self.resource_limit,
        )
        return text.rstrip(b"\n") + b"\n"
