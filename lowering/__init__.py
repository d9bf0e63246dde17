"""Lowering: each level to the one below it. torch -> lut -> accelerator -> hw -> SystemVerilog or simulation.

The passes are files of this folder. Below them `torch_ir` reads what PyTorch says, `layout`, `plan` and `image` place
a whole decoder (channels; buffers and tasks; bytes), `accelerator_hw` and `engine_hw` build hardware, `cpu` machine
code; `engine.py` and `accelerator.py` are the parameters that all of them share.

`PASSES` lists the lowering passes that work on MLIR of the torch and lut levels; what lies below is CIRCT's.
"""

from lutllm.lowering.decoder_to_accelerator import DecoderToAccelerator
from lutllm.lowering.lut_quantize import LutQuantize
from lutllm.lowering.lut_to_accelerator import LutToAccelerator
from lutllm.lowering.torch_raise import TorchRaise
from lutllm.lowering.torch_to_lut import TorchToLut
from lutllm.passes import Pass

PASSES: tuple[type[Pass], ...] = (
    TorchToLut,
    TorchRaise,
    LutQuantize,
    LutToAccelerator,
    DecoderToAccelerator,
)
