"""What quantization decided that is no array: `quantization.json` in, the constants of each op by its name out.

An op of the float level is found by its `name`. Its arrays lie in the store, under symbols that start with that name
(for the input of linears: with `input_name`; for RoPE: with the name of the table).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lutllm import store
from lutllm.errors import InputError
from lutllm.scheme import QuantizedLinear, Scheme

RESIDUAL_BITS = 26  # of the residual stream: squares of a row of 2**11 channels still sum up in 63 bits
NORM_BITS = 28
QUERY_BITS = 16
CACHE_BITS = 8


@dataclass(frozen=True)
class EmbeddingConstants:
    """`NAME.rows` int8 [V, D], `NAME.multiplier` int32 [V], 1 .. 2**15 - 1: a token's row is
    round_shift(rows * multiplier, shift) * 2**exponent."""

    shift: int
    exponent: int
    positions: int = 0  # that have a row, of an embedding of positions


@dataclass(frozen=True)
class NormConstants:
    """`NAME.gain` int32 [channels / groups], below 2**23, and `NAME.bias` where there is one; the output is NORM_BITS
    wide at 2**exponent, `epsilon` in units of the sum of squares."""

    gain_shift: int
    epsilon: int
    exponent: int


@dataclass(frozen=True)
class RopeConstants:
    """`TABLE.cosines`, `TABLE.sines` int16 [positions, head_dim / 2] in units of 2**-14; ropes alike share a table."""

    table: str
    positions: int


@dataclass(frozen=True)
class AttentionConstants:
    """Exponents int8, one a pair of channels: `NAME.query.exponents`, `.key.exponents`, `.value.exponents`.

    `NAME.multiplier` int32 [heads] and `shift` bring score differences to units of 2**-16 in log2; the exponents of
    query and key of one channel add up to the same number in a whole head. Keys and values have `cache_bits`.
    """

    shift: int
    cache_bits: int = CACHE_BITS
    softcap: int = 0  # 0: none


@dataclass(frozen=True)
class AddConstants:
    """The sum is RESIDUAL_BITS wide at 2**exponent."""

    exponent: int


@dataclass(frozen=True)
class TanhConstants:
    """tanh, in units of 2**-14, times `multiplier`, shifted by `shift`, is RESIDUAL_BITS wide at 2**exponent."""

    multiplier: int
    shift: int
    exponent: int


Constants = EmbeddingConstants | NormConstants | RopeConstants | AttentionConstants | AddConstants | TanhConstants
SECTIONS: dict[str, type] = {
    "embeddings": EmbeddingConstants,
    "norms": NormConstants,
    "ropes": RopeConstants,
    "attentions": AttentionConstants,
    "adds": AddConstants,
    "tanhs": TanhConstants,
}


@dataclass(frozen=True)
class LinearConstants:
    """Of a linear: the name of its input (shared by all linears that read it), its scheme and its numbers."""

    input_name: str
    scheme: Scheme
    pairs: int
    outputs: int
    shift: int
    out_exponent: int
    has_tables: bool = False
    has_bias: bool = True

    @classmethod
    def of(cls, linear: QuantizedLinear) -> LinearConstants:
        return cls(
            input_name=linear.input_name,
            scheme=linear.scheme,
            pairs=linear.pairs,
            outputs=linear.outputs,
            shift=int(linear.shift),
            out_exponent=int(linear.out_exponent),
            has_tables=linear.tables is not None,
            has_bias=bool(linear.bias.any()),
        )

    @classmethod
    def from_entry(cls, name: str, entry: Mapping) -> LinearConstants:
        """From what `lutllm.store.describe` wrote."""
        try:
            pairs, _, outputs = entry["shapes"][f"{name}.codes"]
            return cls(
                input_name=str(entry["input_name"]),
                scheme=Scheme.from_dict(entry["scheme"]),
                pairs=int(pairs),
                outputs=int(outputs),
                shift=int(entry["shift"]),
                out_exponent=int(entry["out_exponent"]),
                has_tables=f"{name}.tables" in entry["shapes"],
                has_bias=bool(entry.get("has_bias", True)),  # not said before
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"'{name}': expected a description with scheme, input_name, shift, out_exponent and shapes, "
                f"got a problem with {error}; quantize again"
            ) from None

    @property
    def exponents(self) -> str:
        """The symbol of the exponents of the input."""
        return f"{self.input_name}.exponents"


def constants_of(linears: Mapping[str, QuantizedLinear]) -> dict[str, LinearConstants]:
    """The constants of linears in memory."""
    return {name: LinearConstants.of(linear) for name, linear in linears.items()}


@dataclass(frozen=True)
class Quantization:
    """The constants of every op by its name; `sha256` of the store where it is known."""

    ops: Mapping[str, Constants] = field(default_factory=dict)
    linears: Mapping[str, LinearConstants] = field(default_factory=dict)
    sha256: str | None = None

    @property
    def positions(self) -> int | None:
        """How many positions every table of RoPE or of embedded positions has; None without any."""
        ropes = [c.positions for c in self.ops.values() if isinstance(c, RopeConstants)]
        embedded = [c.positions for c in self.ops.values() if isinstance(c, EmbeddingConstants) and c.positions]
        return min([*ropes, *embedded], default=None)


def read_quantization(path: Path | str) -> Quantization:
    """What `quantization.json` (or that of a directory) says; `InputError` where it cannot be read."""
    path = Path(path)
    path = path / store.SIDECAR if path.is_dir() else path
    sidecar = store.read_json(path)
    linears, digest = sidecar.get("linears"), sidecar.get("sha256")
    if not isinstance(linears, dict) or not isinstance(digest, str):
        raise InputError(
            f"'{path}': expected 'linears' and 'sha256', got {', '.join(sidecar) or 'nothing'}; quantize again"
        )
    return Quantization(
        read_ops(sidecar, path),
        {name: LinearConstants.from_entry(name, entry) for name, entry in linears.items()},
        digest,
    )


def read_ops(sidecar: Mapping[str, Any], path: Path | str) -> dict[str, Constants]:
    """The constants in the sections of a sidecar; `path` is for messages."""
    found: dict[str, Constants] = {}
    for section, kind in SECTIONS.items():
        try:
            found |= {name: _checked(kind(**values)) for name, values in sidecar.get(section, {}).items()}
        except (TypeError, AttributeError) as error:
            message = f"section '{section}': expected other constants, got {error}; quantize again"
            raise InputError(f"'{path}': {message}") from None
    return found


def _checked(constants: Constants) -> Constants:
    """Whole numbers where they are meant to be."""
    for name, value in asdict(constants).items():
        wanted = str if name == "table" else int
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise TypeError(f"{name} = {value!r}")
    return constants


def sections(ops: Mapping[str, Constants]) -> dict[str, dict[str, dict[str, Any]]]:
    """What `quantization.json` says of all ops that are no linears."""
    return {section: _entries(ops.items(), kind) for section, kind in SECTIONS.items()}


def _entries(ops: Iterable[tuple[str, Constants]], kind: type) -> dict[str, dict[str, Any]]:
    return {name: asdict(constants) for name, constants in ops if isinstance(constants, kind)}
