"""accelerator -> hw: a program's engine alone, or the whole accelerator, as CIRCT modules. Reads their parameters only.

Other rounds, shapes and weights, or another model that fits, are another memory image, not another build.
"""

from __future__ import annotations

from lutllm.lowering.accelerator import AcceleratorConfig
from lutllm.lowering.accelerator_hw.top import TOP as ACCELERATOR_TOP
from lutllm.lowering.accelerator_hw.top import lut_accelerator
from lutllm.lowering.circt import Design
from lutllm.lowering.engine import EngineConfig
from lutllm.lowering.engine_hw.top import TOP as ENGINE_TOP
from lutllm.lowering.engine_hw.top import lut_linear

__all__ = ["ACCELERATOR_TOP", "ENGINE_TOP", "accelerator_to_hw", "engine_to_hw"]


def engine_to_hw(engine: EngineConfig, target: str) -> Design:
    """The hw-level design of `engine` for `arc` (simulation) or `sv` (SystemVerilog), top module `ENGINE_TOP`."""
    design = Design(target)
    lut_linear(design, engine)
    design.verify()
    return design


def accelerator_to_hw(config: AcceleratorConfig, target: str) -> Design:
    """The hw-level design of the whole accelerator for `arc` or `sv`; its top module is `ACCELERATOR_TOP`."""
    design = Design(target)
    lut_accelerator(design, config)
    design.verify()
    return design
