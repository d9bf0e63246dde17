"""`quantize_linears`: a PyTorch module that need not be a language model, and inputs of it in, its linears in integers
out. What stands around them is not quantized.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from lutllm.quantizer.linear.vector import VectorQuantizer
from lutllm.quantizer.observe.recording import float_linear, record
from lutllm.quantizer.reproducible import reproducible
from lutllm.scheme import EXACT, QuantizedLinear, Scheme


def quantize_linears(
    module: Any, windows: Iterable[np.ndarray], scheme: Scheme = EXACT, *, seed: int = 0
) -> dict[str, QuantizedLinear]:
    """Every `nn.Linear` of a module by its path, calibrated on what it reads in `windows`: each the module's input,
    floats as they are, or token ids [T]. Same arguments, same integers. `InputError` where one cannot be quantized.
    """
    names = [name for name, part in module.named_modules() if isinstance(part, torch.nn.Linear)]
    quantizer, inputs = VectorQuantizer(scheme, seed=seed), {}
    with reproducible():
        for found in record(module, names, windows):
            for name, x in {recorded.input_name: recorded.x for recorded in found.values()}.items():
                quantizer.observe(name, x)
            inputs = {name: recorded.input_name for name, recorded in found.items()}
        return {name: quantizer.quantize_linear(float_linear(module, name, inputs[name])) for name in names}
