"""The pipelines of the main job, as `lutllm-opt --pass-pipeline` takes them: each a list of passes with its reason."""

from __future__ import annotations

from lutllm.lowering.machine.targets import find_target
from lutllm.passes.pass_base import spell_option


def to_lut(quantization: str) -> str:
    """torch -> mixed: linears become lookups."""
    return _pipeline(
        f"torch-to-lut{{quantization={spell_option(quantization)}}}",  # every linear that was quantized
        "cse",  # q, k, v read one input: one lut.quantize serves them
        "lut-canonicalize",
        "lut-symbol-dce",  # the float weights of converted linears are no longer read
    )


def to_float() -> str:
    """torch -> float: PyTorch's ops become structural ops."""
    return _pipeline(
        "torch-raise",
        "lut-symbol-dce",  # masks and other constants are no longer read
    )


def to_program(quantization: str, context: int = 0) -> str:
    """torch -> float -> lut: the whole model becomes @prefill, @decode and @score on integers."""
    options = f"quantization={spell_option(quantization)}" + (f" context={context}" if context else "")
    return _pipeline("torch-raise", f"lut-quantize{{{options}}}")


def to_steps(row_source: str = "") -> str:
    """lut -> steps: search, rows, lookup, sum, requantize; the next token is made by a program of its own."""
    option = f"{{row-source={row_source}}}" if row_source else ""
    return _pipeline("lut-outline-head", f"lut-decompose{option}", "lut-canonicalize", "lut-symbol-dce")


def to_placed(target: str) -> str:
    """steps -> placed: a machine of `target`, clusters on it, and where everything lies."""
    return _pipeline(f"lut-place{{target={target}}}", *PLACES)


def to_schedule() -> str:
    """placed -> scheduled: when, and what waits for what."""
    return _pipeline(*TIMES)


PLACES = (
    "lut-layout",  # how channels lie
    "lut-order",  # what comes first
    "lut-allocate",  # where words and bytes lie
)
TIMES = (
    "lut-schedule",  # when, and what waits for what
    "lut-size-streams",  # FIFOs deep enough
    "lut-serialize",  # lists in memory
    "lut-verify-schedule",  # none of the passes above is trusted
)


def to_linears() -> str:
    """mixed -> lut: the linears alone."""
    return _pipeline("lut-extract-linears", "lut-symbol-dce")


def to_linalg(*stores: str) -> str:
    """mixed -> linalg, for any MLIR compiler: `stores` are the files of parameters, of integers and of floats."""
    return _pipeline(
        "cse",  # linears that read one value share its integers
        "lut-to-linalg",
        "func.func(torch-decompose-complex-ops)",  # what the importer kept whole and no linear is made of
        "torch-backend-to-linalg-on-tensors-backend-pipeline",
        f"lut-bind-parameters{{store={spell_option(','.join(stores))}}}",
        "symbol-dce",
    )


def to_scheduled(target: str, row_source: str = "") -> str:
    """lut -> scheduled: the three together; the row source is the target's, where none is asked for."""
    row_source = row_source or find_target(target).model.row_source
    return joined(to_steps(row_source), to_placed(target), to_schedule())


def joined(*pipelines: str) -> str:
    """Pipelines on a module as one."""
    return _pipeline(*(text.removeprefix("builtin.module(").removesuffix(")") for text in pipelines))


def _pipeline(*passes: str) -> str:
    return f"builtin.module({','.join(passes)})"
