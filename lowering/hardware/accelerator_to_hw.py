"""machine -> hw: the accelerator as CIRCT modules. Reads its parameters only.

Other rounds, shapes and weights, or another model that fits, are another memory image, not another build.
"""

from __future__ import annotations

from lutllm.lowering.hardware.lib.circt import Design
from lutllm.lowering.hardware.top import TOP as ACCELERATOR_TOP
from lutllm.lowering.hardware.top import lut_accelerator
from lutllm.lowering.machine.accelerator import AcceleratorConfig

__all__ = ["ACCELERATOR_TOP", "accelerator_to_hw"]


def accelerator_to_hw(config: AcceleratorConfig, target: str) -> Design:
    """The hw-level design of an accelerator for `arc` (simulation) or `sv` (SystemVerilog), top `ACCELERATOR_TOP`."""
    design = Design(target, prefix=f"lut_{config.identity >> 32:08x}_")
    lut_accelerator(design, config)
    design.verify()
    return design
