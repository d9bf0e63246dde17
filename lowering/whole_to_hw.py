"""accelerator -> hw: the whole accelerator as CIRCT modules. Reads its parameters, nothing else.

Another model that fits is another memory image, not another build.
"""

from __future__ import annotations

from lutllm.lowering.accelerator import AcceleratorConfig
from lutllm.lowering.accelerator_hw.top import TOP, lut_accelerator
from lutllm.lowering.circt import Design

__all__ = ["TOP", "whole_to_hw"]


def whole_to_hw(config: AcceleratorConfig, target: str) -> Design:
    """The hw-level design of the whole accelerator for `arc` or `sv`; its top module is `TOP`."""
    design = Design(target)
    lut_accelerator(design, config)
    design.verify()
    return design
