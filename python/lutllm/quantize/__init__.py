"""Quantization: a float model and calibration text in, `QuantizedLinear` integers out.

Names are loaded on first use, so that importing this package costs nothing without torch or numba.
"""

import importlib

_HOME = {
    "FloatLinear": "lutllm.quantize.protocol",
    "Quantizer": "lutllm.quantize.protocol",
    "QuantizationResult": "lutllm.quantize.driver",
    "VectorQuantizer": "lutllm.quantize.linear.vector",
    "assemble": "lutllm.quantize.linear.assembly",
    "output_error": "lutllm.quantize.evaluate",
    "quantize": "lutllm.quantize.driver",
    "random_linear": "lutllm.quantize.random.linear",
    "record": "lutllm.quantize.observe.recording",
    "validate": "lutllm.quantize.linear.ranges",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'lutllm.quantize' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
