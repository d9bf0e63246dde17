"""LEGACY, to be deleted with `DecoderSpec`.

What the compiler needs to know of a quantized linear: the store's description in, shapes and symbol names out.

No array is read: `quantization.json` beside the store is enough to convert and schedule a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lutllm import store
from lutllm.dialect import parameters
from lutllm.errors import InputError
from lutllm.scheme import QuantizedLinear, Scheme

Shape = tuple[tuple[int, ...], str]


@dataclass(frozen=True)
class LinearSpec:
    """A linear's name, the name of its input (shared by all linears that read it), its scheme and its constants."""

    name: str
    input_name: str
    scheme: Scheme
    pairs: int
    outputs: int
    shift: int
    out_exponent: int
    has_tables: bool = False

    @classmethod
    def of(cls, linear: QuantizedLinear) -> LinearSpec:
        return cls(
            name=linear.name,
            input_name=linear.input_name,
            scheme=linear.scheme,
            pairs=linear.pairs,
            outputs=linear.outputs,
            shift=int(linear.shift),
            out_exponent=int(linear.out_exponent),
            has_tables=linear.tables is not None,
        )

    @classmethod
    def from_entry(cls, name: str, entry: Mapping) -> LinearSpec:
        """From what `lutllm.store.describe` wrote."""
        try:
            pairs, _, outputs = entry["shapes"][f"{name}.codes"]
            return cls(
                name=name,
                input_name=str(entry["input_name"]),
                scheme=Scheme.from_dict(entry["scheme"]),
                pairs=int(pairs),
                outputs=int(outputs),
                shift=int(entry["shift"]),
                out_exponent=int(entry["out_exponent"]),
                has_tables=f"{name}.tables" in entry["shapes"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"'{name}': expected a description with scheme, input_name, shift, out_exponent and shapes, "
                f"got a problem with {error}; quantize again"
            ) from None

    def symbols(self) -> dict[str, str]:
        """Attribute of `lut.linear` -> symbol."""
        own = {part: f"{self.name}.{part}" for part in ("codes", "weight_codebook", "shifts", "multiplier", "bias")}
        if self.has_tables:
            own["tables"] = f"{self.name}.tables"
        if self.scheme.kind == "vq":
            own["codebook"] = f"{self.input_name}.codebook"
        return own

    @property
    def exponents(self) -> str:
        return f"{self.input_name}.exponents"

    def globals(self) -> dict[str, Shape]:
        """Symbol -> (shape, dtype) of everything the linear needs of the store."""
        s, blocks = self.scheme, self.scheme.blocks(self.outputs)
        shapes = {
            "codes": parameters.codes(s, self.pairs, self.outputs),
            "weight_codebook": parameters.weight_codebook(s, self.pairs, blocks),
            "shifts": parameters.shifts(self.pairs),
            "multiplier": parameters.per_output(self.outputs),
            "bias": parameters.per_output(self.outputs),
            "tables": parameters.tables(s, self.pairs, blocks),
            "codebook": parameters.codebook(s, self.pairs),
        }
        needed = {symbol: shapes[part] for part, symbol in self.symbols().items()}
        return {self.exponents: parameters.exponents(self.pairs), **needed}


def specs_of(linears: Mapping[str, QuantizedLinear]) -> dict[str, LinearSpec]:
    """The specs of linears in memory."""
    return {name: LinearSpec.of(linear) for name, linear in linears.items()}


def read_specs(path: Path | str) -> tuple[dict[str, LinearSpec], str]:
    """The specs in `quantization.json` (or the directory that holds it), and the SHA-256 of its store."""
    path = Path(path)
    path = path / store.SIDECAR if path.is_dir() else path
    sidecar = store.read_json(path)
    linears, digest = sidecar.get("linears"), sidecar.get("sha256")
    if not isinstance(linears, dict) or not isinstance(digest, str):
        raise InputError(
            f"'{path}': expected 'linears' and 'sha256', got {', '.join(sidecar) or 'nothing'}; quantize again"
        )
    return {name: LinearSpec.from_entry(name, entry) for name, entry in linears.items()}, digest
