"""accelerator -> hw: the engine of a program as CIRCT modules. Reads `lut.engine` and nothing else.

Other rounds, shapes and weights are another memory image, not another build.
"""

from __future__ import annotations

from lutllm.lowering.circt import Design
from lutllm.lowering.engine import EngineConfig
from lutllm.lowering.engine_hw.top import TOP, lut_linear

__all__ = ["TOP", "accelerator_to_hw"]


def accelerator_to_hw(engine: EngineConfig, target: str) -> Design:
    """The hw-level design of `engine` for `arc` (simulation) or `sv` (SystemVerilog); its top module is `TOP`."""
    design = Design(target)
    lut_linear(design, engine)
    design.verify()
    return design
