"""Symbols, shapes and element types of the parameters in the store, those of a linear as functions of its scheme.

P pairs, B blocks of outputs, N outputs. Used by the symbol check, the builders and the store check.
"""

from dataclasses import dataclass

from lutllm.bindings import ir
from lutllm.scheme import Scheme

ELEMENT_TYPES = {"uint8": "i8", "int8": "i8", "int16": "i16", "int32": "i32"}


@dataclass(frozen=True)
class Parameter:
    """A symbol an op needs, and what its global must be; only codes are unsigned.

    `attribute` names it, or is the part that it is of the op's `weights`.
    """

    attribute: str
    symbol: str
    shape: tuple[int, ...]
    dtype: str

    def type_text(self) -> str:
        return f"tensor<{'x'.join(map(str, self.shape))}x{ELEMENT_TYPES[self.dtype]}>"


def codebook(scheme: Scheme, p: int) -> tuple[tuple[int, ...], str]:
    return (p, scheme.S, scheme.c_a, 2), "int16"


def weight_codebook(scheme: Scheme, p: int, b: int) -> tuple[tuple[int, ...], str]:
    return (p, b, scheme.R, scheme.c_w, 2), "int8"


def codes(scheme: Scheme, p: int, n: int) -> tuple[tuple[int, ...], str]:
    return (p, scheme.R, n), "uint8"


def shifts(p: int) -> tuple[tuple[int, ...], str]:
    return (p, 2), "int8"


def tables(scheme: Scheme, p: int, b: int) -> tuple[tuple[int, ...], str]:
    dtype = "int8" if scheme.table_bits <= 8 else "int32"
    return (p, b, scheme.R, scheme.S, scheme.c_a, scheme.c_w), dtype


def per_output(n: int) -> tuple[tuple[int, ...], str]:
    return (n,), "int32"


def exponents(p: int) -> tuple[tuple[int, ...], str]:
    return (p,), "int8"


def embedding_rows(v: int, k: int) -> tuple[tuple[int, ...], str]:
    return (v, k), "int8"


def rotations(positions: int, p: int) -> tuple[tuple[int, ...], str]:
    return (positions, p), "int16"


def index_element(scheme: Scheme) -> str:
    """Element type of centroid indices: unsigned in i8 up to 256 centroids, else in i16."""
    return "i8" if scheme.c_a <= 256 else "i16"


def of_weights(weights: str, part: str) -> str:
    """The symbol of an array of a linear: of its codes, weight_codebook, shifts, multiplier, bias or tables."""
    return f"{weights}.{part}"


def weight(weights: ir.Attribute, part: str, spec: tuple[tuple[int, ...], str]) -> Parameter:
    """The array `part` of what an op's `weights` names."""
    return Parameter(part, of_weights(ir.FlatSymbolRefAttr(weights).value, part), *spec)


def parameter(attribute: str, symbol: ir.Attribute, spec: tuple[tuple[int, ...], str]) -> Parameter:
    shape, dtype = spec
    return Parameter(attribute, ir.FlatSymbolRefAttr(symbol).value, shape, dtype)
