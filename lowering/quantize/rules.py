"""What becomes of each op of the float level: an op with its constants in, integer ops out.

`RULES` has one function a class of ops, which returns the integers of its result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.dialect import fixed_of
from lutllm.dialect.decoders import builders as build
from lutllm.lowering.quantize.forms import Problem, Unquantizable
from lutllm.lowering.quantize.graph import FloatGraph, name_of
from lutllm.quantization import (
    QUERY_BITS,
    AddConstants,
    AttentionConstants,
    Constants,
    EmbeddingConstants,
    LinearConstants,
    NormConstants,
    Quantization,
    RopeConstants,
    TanhConstants,
)
from lutllm.scheme import Scheme

PARTS = ("key", "value")
ConstantsT = TypeVar("ConstantsT", bound=Constants)


@dataclass
class Writer:
    """What the rules share within a function: `values` has the integers of each float value; `caches` those of keys
    and values by (attention, part), which `append` replaces; `schemes` are the names of those the module has."""

    graph: FloatGraph
    quantization: Quantization
    values: dict[ir.Value, ir.Value] = field(default_factory=dict)
    position: ir.Value | None = None
    caches: dict[tuple[str, str], ir.Value] = field(default_factory=dict)
    schemes: Mapping[Scheme, str] = field(default_factory=dict)
    _inputs: dict[tuple[ir.Value, str, int], ir.Value] = field(default_factory=dict)

    def write(self, op: Any) -> ir.Value:
        with at(op):
            self.values[op.y] = RULES[type(op)](self, op)
        return self.values[op.y]

    def constants(self, op: Any, kind: type[ConstantsT]) -> ConstantsT:
        found = self.quantization.ops.get(name_of(op))
        if not isinstance(found, kind):
            raise Unquantizable([Problem(op, _missing(name_of(op)))])
        return found

    def linear(self, op: Any) -> LinearConstants:
        """The constants of a linear, which must be of its shape."""
        found = self.quantization.linears.get(name_of(op))
        if found is None:
            raise Unquantizable([Problem(op, _missing(name_of(op)))])
        if problem := shape_problem(found, op.x.type.shape[1], op.y.type.shape[1]):
            raise Unquantizable([Problem(op, problem)])
        return found

    def reader(self, value: ir.Value) -> LinearConstants:
        """The constants of the first linear that reads a value: its exponents are the value's."""
        return next(self.linear(op) for op in self.graph.readers(value) if isinstance(op, dialect.FloatLinearOp))

    def input(self, op: Any, constants: LinearConstants) -> ir.Value:
        """What a linear reads, at its exponents; made once for all linears that read it so."""
        value, wanted = self.values[op.x], (constants.scheme.x_bits, constants.exponents)
        meaning = fixed_of(value.type)
        assert meaning is not None
        if isinstance(meaning[1], str):
            if meaning != wanted:
                message = (
                    f"expected an input of {meaning[0]} bits at @{meaning[1]}, as another linear reads it, "
                    f"got {wanted[0]} bits at @{wanted[1]}; quantize both together"
                )
                raise Unquantizable([Problem(op, message)])
            return value
        key = value, constants.exponents, constants.scheme.x_bits
        if key not in self._inputs:
            with at(op, constants.input_name):
                self._inputs[key] = build.rescale(value, exponents=constants.exponents, bits=constants.scheme.x_bits)
        return self._inputs[key]


def _missing(name: str) -> str:
    return f"expected quantized parameters of '{name}', got none; quantize the whole model"


def shape_problem(found: LinearConstants, inputs: int | None, outputs: int | None) -> str | None:
    """Why the constants are not those of a linear of this shape."""
    if (inputs, outputs) == (2 * found.pairs, found.outputs):
        return None
    wanted = f"expected quantized parameters for {inputs} inputs and {outputs} outputs"
    return f"{wanted}, got {2 * found.pairs} and {found.outputs}; quantize this model again"


def linear_op(x: ir.Value, name: str, constants: LinearConstants, scheme: str) -> ir.Value:
    """`lut.linear` of a linear called `name`; `scheme` is the name of its scheme."""
    searched = constants.scheme.kind == "vq"
    return dialect.linear(
        x,
        scheme=scheme,
        weights=name,
        shift=constants.shift,
        out_exponent=constants.out_exponent,
        codebook=f"{constants.input_name}.codebook" if searched else None,
        tables=constants.has_tables,
        unbiased=not constants.has_bias,
        outputs=constants.outputs,
    )


def _embedding(w: Writer, op: Any) -> ir.Value:
    name, constants = name_of(op), w.constants(op, EmbeddingConstants)
    return build.embedding(
        w.values[op.ids],
        None if op.position is None else w.values[op.position],
        rows=f"{name}.rows",
        multiplier=f"{name}.multiplier",
        shift=constants.shift,
        vocabulary=w.graph.parameter_shape(op.weight.value)[0],
        channels=op.y.type.shape[1],
        exponent=constants.exponent,
        offset=op.number("offset"),
    )


def _norm(w: Writer, op: Any) -> ir.Value:
    constants = w.constants(op, NormConstants)
    return build.rms_norm(
        w.values[op.x],
        gain=f"{name_of(op)}.gain",
        groups=int(op.groups.value),
        epsilon=constants.epsilon,
        shift=constants.gain_shift,
        exponent=constants.exponent,
        centered=op.operation.attributes["kind"].value == "layer",
        bias=None if op.optional("bias") is None else f"{name_of(op)}.bias",
    )


def _linear(w: Writer, op: Any) -> ir.Value:
    constants = w.linear(op)
    return linear_op(w.input(op, constants), name_of(op), constants, w.schemes[constants.scheme])


def _rope(w: Writer, op: Any) -> ir.Value:
    constants = w.constants(op, RopeConstants)
    return build.rope(
        w.values[op.x],
        w.values[op.position],
        heads=int(op.heads.value),
        positions=constants.positions,
        cosines=f"{constants.table}.cosines",
        sines=f"{constants.table}.sines",
        rotated=op.number("rotated"),
        interleaved="interleaved" in op.attributes,
    )


def _tanh(w: Writer, op: Any) -> ir.Value:
    return build.tanh(w.values[op.x], **asdict(w.constants(op, TanhConstants)))


def _slice(w: Writer, op: Any) -> ir.Value:
    groups, start = int(op.groups.value), int(op.start.value)
    return build.slice_channels(w.values[op.x], groups=groups, start=start, channels=op.y.type.shape[1])


def _attention(w: Writer, op: Any) -> ir.Value:
    name, constants, reader = name_of(op), w.constants(op, AttentionConstants), w.reader(op.y)
    query = build.rescale(w.values[op.query], exponents=f"{name}.query.exponents", bits=QUERY_BITS)
    new = [
        build.rescale(w.values[value], exponents=f"{name}.{part}.exponents", bits=constants.cache_bits)
        for part, value in zip(PARTS, (op.keys, op.values), strict=True)
    ]
    assert w.position is not None
    for part, value in zip(PARTS, new, strict=True):
        w.caches[name, part] = build.append(w.caches[name, part], value, w.position)
    keys, values = (w.caches[name, part] for part in PARTS)
    return build.attention(
        query,
        keys,
        values,
        w.position,
        heads=int(op.heads.value),
        kv_heads=int(op.kv_heads.value),
        multiplier=f"{name}.multiplier",
        shift=constants.shift,
        exponents=reader.exponents,
        bits=reader.scheme.x_bits,
        window=op.number("window"),
        softcap=constants.softcap or None,
    )


def _gated(w: Writer, op: Any) -> ir.Value:
    reader = w.reader(op.y)
    gate, up = w.values[op.gate], None if op.up is None else w.values[op.up]
    exponents, bits = reader.exponents, reader.scheme.x_bits
    return build.swiglu(gate, up, exponents=exponents, bits=bits, activation=op.activation.value)


def _add(w: Writer, op: Any) -> ir.Value:
    return build.add(w.values[op.a], w.values[op.b], exponent=w.constants(op, AddConstants).exponent)


RULES: dict[type, Callable[[Writer, Any], ir.Value]] = {
    dialect.FloatEmbeddingOp: _embedding,
    dialect.FloatNormOp: _norm,
    dialect.FloatLinearOp: _linear,
    dialect.FloatRopeOp: _rope,
    dialect.FloatSliceOp: _slice,
    dialect.FloatTanhOp: _tanh,
    dialect.FloatAttentionOp: _attention,
    dialect.FloatGatedOp: _gated,
    dialect.FloatAddOp: _add,
}


@contextmanager
def at(op: Any, name: str | None = None) -> Iterator[None]:
    """The location of what is made of a float op: its PyTorch module, or `name`, and its place in the source."""
    location = op.operation.location
    named = isinstance(location, ir.NameLoc)
    if named and name is None:
        with location:
            yield
        return
    with ir.Location.name(name or name_of(op), childLoc=location.child_loc if named else location):
        yield
