"""A quantization scheme, and one linear layer quantized by it: the data every level below PyTorch is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from lutllm.errors import InputError

ROW_SOURCES = {"vq": ("stored_table", "built_table", "built_row"), "exact": ("exact_row",)}
METRICS = ("chebyshev", "l2")
ACC_BITS = 32
MULTIPLIER_BITS = 16
PAIR_SHIFT_BITS = 5  # of a pair's right and left shift: no dot product has more than 31 bits to shift away
MAX_PAIR_SHIFT = (1 << PAIR_SHIFT_BITS) - 1
MAX_SHIFT = 47


@dataclass(frozen=True)
class Scheme:
    """How one linear layer's numbers are coded. Bit widths are signed unless said.

    `kind` is `vq` (activations by nearest centroid) or `exact` (activations as they are). `v` channels form a
    pair; `c_a` activation centroids in each of `S` additive stages; `c_w` weight centroids in each of `R` additive
    stages, one codebook per pair and block of `G` outputs; `metric` of the centroid search. `table_bits` holds a table
    entry, and for `exact` a row entry before its left shift; `term_bits` a row entry after it.
    """

    kind: str = "vq"
    v: int = 2
    c_a: int = 64
    c_w: int = 16
    G: int = 512
    R: int = 1
    S: int = 1
    metric: str = "chebyshev"
    x_bits: int = 16
    act_bits: int = 16
    weight_bits: int = 8
    table_bits: int = 8
    term_bits: int = 24
    out_bits: int = 24

    def __post_init__(self) -> None:
        problem = scheme_problem(asdict(self))
        if problem:
            raise InputError(f"scheme: {problem}")

    @property
    def row_sources(self) -> tuple[str, ...]:
        """The row sources that compute this scheme, all giving the same integers."""
        return ROW_SOURCES[self.kind]

    @property
    def code_bits(self) -> int:
        """Bits of one weight code (unsigned)."""
        return (self.c_w - 1).bit_length()

    def blocks(self, outputs: int) -> int:
        return -(-outputs // self.G)

    def to_dict(self) -> dict[str, int | str]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> Scheme:
        problem = scheme_problem(values)
        if problem:
            raise InputError(f"scheme: {problem}")
        return cls(**values)

    def with_(self, **changes: int | str) -> Scheme:
        return replace(self, **changes)  # type: ignore[arg-type]


def scheme_problem(values: dict) -> str | None:
    """What is wrong with a scheme given as a dictionary, as `expected ..., got ...`, or None."""
    names = [f.name for f in fields(Scheme)]
    missing = [n for n in names if n not in values]
    if missing:
        return f"expected fields {', '.join(names)}; missing {', '.join(missing)}"
    extra = sorted(set(values) - set(names))
    if extra:
        return f"expected fields {', '.join(names)}; got unknown {', '.join(extra)}"
    kind = values["kind"]
    if kind not in ROW_SOURCES:
        return f"expected kind to be one of {', '.join(ROW_SOURCES)}, got {kind!r}"
    if values["metric"] not in METRICS:
        return f"expected metric to be one of {', '.join(METRICS)}, got {values['metric']!r}"
    for name, low, high in _RANGES:
        if kind == "exact" and name in ("c_a", "S"):
            low = high = 0
        value = values[name]
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            wanted = str(low) if low == high else f"{low}..{high}"
            return f"expected {name} = {wanted} for kind {kind!r}, got {value!r}"
    if values["act_bits"] > values["x_bits"]:
        return f"expected act_bits <= x_bits = {values['x_bits']}, got {values['act_bits']}"
    if values["table_bits"] > values["term_bits"]:
        return f"expected table_bits <= term_bits = {values['term_bits']}, got {values['table_bits']}"
    return None


_RANGES = (
    ("v", 2, 2),
    ("c_a", 1, 1024),
    ("c_w", 2, 16),
    ("G", 1, 1 << 20),
    ("R", 1, 8),
    ("S", 1, 4),
    ("x_bits", 2, 16),
    ("act_bits", 2, 16),
    ("weight_bits", 2, 8),
    ("table_bits", 2, 24),
    ("term_bits", 2, 31),
    ("out_bits", 2, 32),
)

PAPER = Scheme()
ADDITIVE = Scheme(c_a=16, S=2, R=2, table_bits=16)
EXACT = Scheme(kind="exact", c_a=0, S=0, R=2, table_bits=16)
NAMED_SCHEMES = {"paper": PAPER, "additive": ADDITIVE, "exact": EXACT}


@dataclass
class QuantizedLinear:
    """One linear layer in integers. Shapes: P = inputs/2 pairs, N outputs, B = ceil(N/G) blocks.

    `exponents` int8 [P] (input scale per pair), `codebook` int16 [P, S, c_a, 2] or None, `weight_codebook` int8
    [P, B, R, c_w, 2], `codes` uint8 [P, R, N], `shifts` int8 [P, 2] = (right, left), `multiplier` int32 [N],
    `bias` int32 [N], `tables` int8 (int32 when `table_bits` > 8) [P, B, R, S, c_a, c_w] or None. The output is
    `integer * 2**out_exponent`; `shift` is the requantizer's right shift.
    """

    name: str
    input_name: str
    scheme: Scheme
    exponents: np.ndarray
    codebook: np.ndarray | None
    weight_codebook: np.ndarray
    codes: np.ndarray
    shifts: np.ndarray
    multiplier: np.ndarray
    bias: np.ndarray
    shift: int
    out_exponent: int
    tables: np.ndarray | None = None
    metadata: dict = field(default_factory=dict)

    @property
    def pairs(self) -> int:
        return int(self.codes.shape[0])

    @property
    def outputs(self) -> int:
        return int(self.codes.shape[2])

    @property
    def blocks(self) -> int:
        return self.scheme.blocks(self.outputs)

    def tensors(self) -> dict[str, np.ndarray]:
        """The store's entries for this linear, keyed by symbol name; the input's entries are shared by its readers."""
        own = {
            f"{self.name}.codes": self.codes,
            f"{self.name}.weight_codebook": self.weight_codebook,
            f"{self.name}.shifts": self.shifts,
            f"{self.name}.multiplier": self.multiplier,
            f"{self.name}.bias": self.bias,
            f"{self.input_name}.exponents": self.exponents,
        }
        if self.tables is not None:
            own[f"{self.name}.tables"] = self.tables
        if self.codebook is not None:
            own[f"{self.input_name}.codebook"] = self.codebook
        return own

    def record(self) -> dict[str, Any]:
        """What a table says of it: plain data."""
        code, effective = self.bits_per_weight()
        shape = [self.outputs, 2 * self.pairs]
        bits = {"bits_code": code, "bits_effective": effective}
        return {"linear": self.name, "shape": shape, "scheme": self.scheme.to_dict(), **bits}

    def bits_per_weight(self, row_source: str | None = None) -> tuple[float, float]:
        """(code bits, effective bits) per weight.

        Effective counts codes, weight codebooks (or, for `stored_table`, tables), shifts and requantizer
        parameters; the activation codebook belongs to the input and is counted too.
        """
        s = self.scheme
        weights = 2 * self.pairs * self.outputs
        code = self.codes.size * s.code_bits
        if row_source == "stored_table":
            rows = self.pairs * self.blocks * s.R * s.S * s.c_a * s.c_w * s.table_bits
        else:
            rows = self.weight_codebook.size * s.weight_bits
        centroids = 0 if self.codebook is None else self.codebook.size * s.act_bits
        rest = 8 * self.shifts.size + self.outputs * (MULTIPLIER_BITS + ACC_BITS)
        return code / weights, (code + rows + centroids + rest) / weights


def parse_schemes(names: Sequence[str], stages: int | None = None) -> dict[str, Scheme]:
    """`paper`, `additive`, `exact`, each optionally `:R`; `stages` sets R for those without. Raises `InputError`."""
    if stages is not None and names and all(":" in name for name in names):
        raise InputError(
            f"expected stages or schemes with :R, got both ({stages} and {', '.join(names)}); leave one out"
        )
    schemes = {}
    for text in names:
        name, colon, given = text.partition(":")
        if name not in NAMED_SCHEMES or (colon and not given.isdigit()):
            known = ", ".join(NAMED_SCHEMES)
            raise InputError(f"expected schemes among {known}, each with an optional :R, got '{text}'")
        scheme = NAMED_SCHEMES[name]
        r = int(given) if colon else stages
        schemes[text if colon or stages is None else f"{name}:{stages}"] = scheme if r is None else scheme.with_(R=r)
    return schemes
