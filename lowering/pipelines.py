"""The pipelines of the main job, as `lutllm-opt --pass-pipeline` takes them: each a list of passes with its reason."""

from __future__ import annotations

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
    return _pipeline("torch-raise")


def to_integers(quantization: str, context: int = 0) -> str:
    """float -> lut: every op in integers; `context` as lut-quantize takes it."""
    return _pipeline(f"lut-quantize{{quantization={spell_option(quantization)} context={context}}}")


def to_steps(row_source: str) -> str:
    """lut -> steps: search, rows, lookup, sum, requantize."""
    return _pipeline(f"lut-decompose{{row-source={row_source}}}", "lut-canonicalize", "lut-symbol-dce")


def to_accelerator(target: str, tokens: int) -> str:
    """steps -> accelerator: an engine, a memory map, rounds."""
    return _pipeline(f"lut-to-accelerator{{target={target} tokens={tokens}}}")


def to_whole_accelerator(quantization: str, target: str, context: int = 0) -> str:
    """lut -> accelerator: a whole decoder becomes its plan; `context` as decoder-to-accelerator takes it."""
    options = f"quantization={spell_option(quantization)} target={target} context={context}"
    return _pipeline(f"decoder-to-accelerator{{{options}}}")


def _pipeline(*passes: str) -> str:
    return f"builtin.module({','.join(passes)})"
