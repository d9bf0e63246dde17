"""Lowerings from a level to the one below: torch to lut, lut to accelerator, accelerator to hw, hw to SystemVerilog.

`PASSES` are those that rewrite MLIR of the torch_mlir bindings; `lutllm-opt` runs them beside `lutllm.passes.PASSES`.
"""

from lutllm.lowering.torch_to_lut import TorchToLut
from lutllm.passes import Pass

PASSES: tuple[type[Pass], ...] = (TorchToLut,)
