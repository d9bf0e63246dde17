"""lutllm compiles a PyTorch LLM into a table-lookup accelerator.

`compile`, `Options` and `Result` are the main job's (see `lutllm.compiler`); `save_pretrained`, `from_pretrained` and
`QuantizedModel` are quantized models on disk (see `lutllm.quantized.pretrained`). Importing `lutllm` itself loads
nothing.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    **dict.fromkeys(("Options", "Result", "compile"), "lutllm.compiler"),
    **dict.fromkeys(("QuantizedModel", "from_pretrained", "save_pretrained"), "lutllm.quantized.pretrained"),
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'lutllm' has no attribute {name!r}")
