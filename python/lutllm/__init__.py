"""lutllm compiles a PyTorch LLM into a table-lookup accelerator.

`compile`, `Options` and `Result` are the main job's (see `lutllm.compiler`); importing `lutllm` itself loads nothing.
"""

from typing import Any

__version__ = "0.1.0"

_MAIN_JOB = ("Options", "Result", "compile")


def __getattr__(name: str) -> Any:
    if name in _MAIN_JOB:
        from lutllm import compiler

        return getattr(compiler, name)
    raise AttributeError(f"module 'lutllm' has no attribute {name!r}")
