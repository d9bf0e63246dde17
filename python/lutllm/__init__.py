"""lutllm compiles a PyTorch LLM into a table-lookup accelerator.

`load`, `check`, `quantize`, `plan_quantize`, `eval`, `generate`, `estimate` (`lutllm.api`) and `compile`
(`lutllm.compiler`) are the verbs of the command line; `from_pretrained` and `save_pretrained` are quantized models on
disk. Importing `lutllm` itself loads nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lutllm.api import check, estimate, eval, generate, load, plan_quantize, quantize
    from lutllm.compiler import Options, Result, compile
    from lutllm.errors import LutllmError
    from lutllm.importer.convertible import Conversion
    from lutllm.quantized.pretrained import QuantizedModel, from_pretrained, save_pretrained
    from lutllm.quantizer.plan import Plan
    from lutllm.quantizer.whole import Quantized
    from lutllm.report.estimate import Estimate
    from lutllm.run.evaluate import Evaluation
    from lutllm.run.generate import Generation
    from lutllm.run.sampling import Sampling

__version__ = "0.1.0"

_HOME = {
    **dict.fromkeys(("check", "estimate", "eval", "generate", "load", "plan_quantize", "quantize"), "lutllm.api"),
    **dict.fromkeys(("Options", "Result", "compile"), "lutllm.compiler"),
    **dict.fromkeys(("QuantizedModel", "from_pretrained", "save_pretrained"), "lutllm.quantized.pretrained"),
    "Conversion": "lutllm.importer.convertible",
    "Estimate": "lutllm.report.estimate",
    "Evaluation": "lutllm.run.evaluate",
    "Generation": "lutllm.run.generate",
    "LutllmError": "lutllm.errors",
    "Plan": "lutllm.quantizer.plan",
    "Quantized": "lutllm.quantizer.whole",
    "Sampling": "lutllm.run.sampling",
}
__all__ = [  # noqa: RUF022 - as a reader meets them
    "load", "check", "quantize", "plan_quantize", "eval", "generate", "compile", "estimate",
    "from_pretrained", "save_pretrained",
    "Conversion", "Estimate", "Evaluation", "Generation", "LutllmError", "Options", "Plan", "Quantized",
    "QuantizedModel", "Result", "Sampling",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'lutllm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
