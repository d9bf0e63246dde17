"""Symbols, shapes and element types of the parameters in the store, those of a linear as functions of its scheme.

P pairs, B blocks of outputs, N outputs. Used by the symbol check, the builders and the store check.
"""

import re
from dataclasses import dataclass

from lutllm.bindings import ir
from lutllm.scheme import Scheme

FLOAT = "float"  # of a float op: whichever float type the model has
FLOAT_TYPES = "f32/bf16/f16"
ANY = -1  # a size that the op does not show
ELEMENT_TYPES = {"uint8": "i8", "int8": "i8", "int16": "i16", "int32": "i32", "float32": "f32"}


@dataclass(frozen=True)
class Parameter:
    """A symbol an op needs, and what its global must be; only codes are unsigned.

    `attribute` names it, or is the part that it is of the op's `weights`.
    """

    attribute: str
    symbol: str
    shape: tuple[int, ...]
    dtype: str

    def sizes(self) -> list[str]:
        return ["?" if size == ANY else str(size) for size in self.shape]

    def type_text(self) -> str:
        element = FLOAT_TYPES if self.dtype == FLOAT else ELEMENT_TYPES[self.dtype]
        return f"tensor<{'x'.join(self.sizes())}x{element}>"

    def fits(self, array: tuple[int, ...]) -> bool:
        """Whether an array has the right shape."""
        return len(array) == len(self.shape) and all(w in (ANY, n) for w, n in zip(self.shape, array, strict=True))


def matches(wanted: str, got: str) -> bool:
    """Whether a text is the wanted one, in which `?` is any size and a choice of float types any of them."""
    pattern = re.escape(wanted).replace(r"\?", r"\d+")
    for choice in (FLOAT_TYPES, FLOAT_TYPES.upper()):
        pattern = pattern.replace(choice, f"({choice.replace('/', '|')})")
    return re.fullmatch(pattern, got) is not None


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
