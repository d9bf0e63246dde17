"""Lowering: each level to the one below it. torch -> lut -> placed -> scheduled -> hw -> SystemVerilog or simulation.

`PASSES` lists the lowering passes that work on MLIR of the torch and lut levels; what lies below is CIRCT's.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lutllm.lowering.all_passes import PASSES as PASSES


def __getattr__(name: str) -> Any:
    """`PASSES`, which takes a fifth of a second to import."""
    if name == "PASSES":
        from lutllm.lowering.all_passes import PASSES

        return PASSES
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
