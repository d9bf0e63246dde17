"""Quantization: a float model and calibration text in, `QuantizedLinear` integers out.

Names are loaded on first use, so that importing this package costs nothing without torch or numba.
"""

import importlib

_HOME = {
    "FloatLinear": "lutllm.quantizer.protocol",
    "Quantizer": "lutllm.quantizer.protocol",
    "QuantizationResult": "lutllm.quantizer.driver",
    "VectorQuantizer": "lutllm.quantizer.linear.vector",
    "assemble": "lutllm.quantizer.linear.assembly",
    "output_error": "lutllm.quantizer.evaluate",
    "quantize": "lutllm.quantizer.driver",
    "quantize_linears": "lutllm.quantizer.any_module",
    "random_linear": "lutllm.quantizer.random.linear",
    "record": "lutllm.quantizer.observe.recording",
    "validate": "lutllm.quantizer.linear.ranges",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'lutllm.quantizer' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
