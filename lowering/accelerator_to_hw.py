"""machine -> hw: the accelerator as CIRCT modules. Reads its parameters only.

Other rounds, shapes and weights, or another model that fits, are another memory image, not another build.
"""

from __future__ import annotations

from lutllm.lowering.accelerator import AcceleratorConfig
from lutllm.lowering.accelerator_hw.top import TOP as ACCELERATOR_TOP
from lutllm.lowering.accelerator_hw.top import lut_accelerator
from lutllm.lowering.circt import Design

__all__ = ["ACCELERATOR_TOP", "accelerator_to_hw"]


def accelerator_to_hw(config: AcceleratorConfig, target: str) -> Design:
    """The hw-level design of an accelerator for `arc` (simulation) or `sv` (SystemVerilog), top `ACCELERATOR_TOP`."""
    design = Design(target)
    lut_accelerator(design, config)
    design.verify()
    return design
