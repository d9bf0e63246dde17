"""A `lut` module to MLIR that the wheel's JIT compiles for this processor: module in, `CpuCode` out.

A function becomes a list of calls of kernels (lutllm.lowering.cpu) on byte addresses. All threads make all calls, each
does its share; a barrier stands wherever a call reads what one before it wrote. Sizes hold up to `tokens` tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from lutllm.bindings import func, ir
from lutllm.dialect import bits_of, exponent_of, exponents_of, fault, fixed_of, scheme_of
from lutllm.dialect.decoders.ops import activation_of
from lutllm.errors import IRError
from lutllm.lowering.cpu import attention, elementwise, linear
from lutllm.lowering.cpu.layout import LEVELS, LinearShape, Packed, codebook
from lutllm.lowering.cpu.plan import FEW, CpuFunction, Plan, Tensor
from lutllm.lowering.cpu.step import ALIGN, Buffer, Call, barrier, encode, plan, runner
from lutllm.lowering.cpu.tables import TABLES


@dataclass(frozen=True)
class CpuCode:
    """MLIR text of the kernels that `calls` name and of @run, how they are called, and the parameters they read."""

    text: str
    calls: Mapping[str, Sequence[Call]]
    parameters: tuple[tuple[int, Packed], ...]  # offset, what
    plan: Plan


def lower(module: ir.Module, *, tokens: int = 64, level: str = "portable") -> CpuCode:
    """All functions of a module. IRError, located, for an op or a type the CPU path does not know."""
    if level not in LEVELS:
        raise IRError(f"expected a feature level among {', '.join(LEVELS)}, got '{level}'; choose one")
    shared = _Shared(level, tokens)
    lowered = {
        op.name.value: _Function(op, shared)
        for op in module.body.operations
        if isinstance(op, func.FuncOp) and not op.is_external
    }
    functions = {name: function.lower() for name, function in lowered.items()}
    arena = max((plan(function.calls) for function in lowered.values()), default=0)
    numbers = {name: i + 1 for i, name in enumerate(shared.kernels)}
    words = {
        (name, few): encode(lowered[name].calls, numbers, len(f.arguments), len(f.results), few)
        for name, f in functions.items()
        for few in (False, True)
    }
    return CpuCode(
        text="\n".join((barrier(level), runner(), *shared.kernels.values())),
        calls={name: function.calls for name, function in lowered.items()},
        parameters=tuple(shared.placed.values()),
        plan=Plan(
            kernels=tuple(shared.kernels),
            functions=functions,
            words=words,
            parameter_bytes=shared.parameter_bytes,
            arena_bytes=arena,
            scratch_bytes=shared.scratch_bytes,
            tokens=tokens,
        ),
    )


@dataclass
class _Shared:
    """What the functions of a module share: kernels and parameters, each once."""

    level: str
    tokens: int
    names: dict[tuple, str] = field(default_factory=dict)
    kernels: dict[str, str] = field(default_factory=dict)
    placed: dict[tuple, tuple[int, Packed]] = field(default_factory=dict)
    parameter_bytes: int = 0
    scratch_bytes: int = 0

    def kernel(self, make: Callable[..., str], *constants: Any) -> str:
        key = (make, *constants)
        if key not in self.names:
            name = f"{make.__name__}_{len(self.names)}"
            self.names[key] = name
            self.kernels[name] = make(name, *constants)
        return self.names[key]

    def parameter(self, packed: Packed, *key: Any) -> Buffer:
        """Where packed arrays lie; `key` tells apart ways to pack the same symbols."""
        whole = (packed.symbols, packed.size, *key)
        if whole not in self.placed:
            self.placed[whole] = self.parameter_bytes, packed
            self.parameter_bytes += -(-packed.size // ALIGN) * ALIGN
        return Buffer("parameters", packed.size, offset=self.placed[whole][0])


class _Function:
    """Lowers one function."""

    def __init__(self, op: func.FuncOp, shared: _Shared) -> None:
        self.op, self.shared = op, shared
        self.calls: list[Call] = []
        self.values: dict[ir.Value, Buffer] = {}
        self.searched: dict[tuple, Buffer] = {}
        self.limits: list[tuple[int, int, str, int | None]] = []
        self.each: dict[tuple[str, int], Buffer] = {}
        self.ids: list[tuple[int, int]] = []

    def lower(self) -> CpuFunction:
        blocks = self.op.regions[0].blocks
        name = self.op.name.value
        if len(blocks) != 1:
            raise IRError(f"expected one block in @{name}, got several; only straight-line code runs")
        *body, last = blocks[0].operations
        for argument in blocks[0].arguments:
            self.values[argument] = Buffer("argument", 0, index=argument.arg_number)
        returned = {value: i for i, value in enumerate(last.operation.operands)}
        for op in body:
            self._op(op, returned)
        in_place = self._results(last, len(returned))
        return CpuFunction(
            tuple(_tensor(a, last) for a in blocks[0].arguments),
            tuple(_tensor(v, last) for v in last.operation.operands),
            in_place,
            tuple(dict.fromkeys(self.limits)),
            tuple(index for kind, index in self.each if kind == "caches"),
            tuple(dict.fromkeys(self.ids)),
        )

    def _results(self, last: ir.OpView, different: int) -> dict[int, int]:
        """Results that lie in an argument; every other one must have been computed into its own memory."""
        in_place = {}
        for i, value in enumerate(last.operation.operands):
            buffer = self.values[value]
            if buffer.kind == "caches":
                in_place[i] = buffer.index
            elif buffer.kind != "result" or different != len(last.operation.operands):
                _fail(last, "expected each result to be the value of an op of its own, got one twice or an argument")
        return in_place

    def _op(self, op: Any, returned: Mapping[ir.Value, int]) -> None:
        name = op.operation.name
        if name not in _OPS and name != "lut.append":
            _fail(
                op,
                f"expected to be one of {', '.join((*_OPS, 'lut.append'))}, got '{name}'; the CPU path knows no other",
            )
        result = op.operation.results[0]
        if name == "lut.append":
            self._append(op)
            return
        size = self._bytes(result, op)
        if result in returned:
            self.values[result] = Buffer("result", size, index=returned[result])
        else:
            self.values[result] = Buffer("arena", size)
        _OPS[name](self, op, *(self.values[v] for v in op.operation.operands), self.values[result])

    def _bytes(self, value: ir.Value, op: Any) -> int:
        tensor = _tensor(value, op)
        return int(np.prod([self.shared.tokens if n is None else n for n in tensor.shape])) * tensor.dtype.itemsize

    def call(
        self,
        make: Callable[..., str],
        constants: tuple,
        pointers: list[Buffer],
        *,
        tokens: int | None,
        numbers: Sequence[int] = (),
        writes: int = -1,
        few: bool | None = None,
    ) -> None:
        """Call a kernel. `numbers` are its i64 arguments, `writes` is the pointer it writes through, `tokens` None
        where only the run knows; `few` as in `Call`."""
        self.calls.append(Call(self.shared.kernel(make, *constants), pointers, numbers, pointers[writes], tokens, few))

    def table(self, name: str) -> Buffer:
        return self.shared.parameter(TABLES[name], name)

    def array(self, symbol: str, size: int) -> Buffer:
        """An array of the store as it is."""
        return self.shared.parameter(Packed((symbol,), size, lambda array: np.ascontiguousarray(array)))

    # --- ops: the operands' buffers and the result's last

    def _embedding(self, op: Any, ids: Buffer, *rest: Buffer) -> None:
        channels, vocabulary, (*position, y) = _width(op.y), int(op.vocabulary.value), rest
        rows = self.array(op.rows.value, vocabulary * channels)
        multiplier = self.array(op.multiplier.value, vocabulary * 4)
        offset, first = op.number("offset"), position[0] if position else ids
        if offset is not None:
            first = self._position(
                op, first, vocabulary - int(offset), "rows of the embedding of positions", _tokens(op.y)
            )
        elif ids.kind != "argument":
            _fail(op, "expected ids to be an argument of the function, got a computed value; pass them in")
        else:
            self.ids.append((ids.index, vocabulary))
        pointers, constants = [first, rows, multiplier, y], (channels, bits_of(op.y), offset)
        self.call(elementwise.embedding, constants, pointers, tokens=_tokens(op.y), numbers=[int(op.shift.value)])

    def _rms_norm(self, op: Any, x: Buffer, y: Buffer) -> None:
        groups = int(op.groups.value)
        channels = _width(op.x) // groups
        numbers = int(op.epsilon.value), int(op.shift.value)
        arrays = [self.array(p.symbol, 4 * channels) for p in op.parameters()]
        constants = (channels, groups, bits_of(op.y), "centered" in op.attributes, len(arrays) > 1)
        pointers = [x, *arrays, self.table("rsqrt"), y]
        self.call(elementwise.rms_norm, constants, pointers, tokens=_tokens(op.x), numbers=numbers)

    def _add(self, op: Any, a: Buffer, b: Buffer, y: Buffer) -> None:
        shifts = (exponent_of(op.a) - exponent_of(op.y), exponent_of(op.b) - exponent_of(op.y))
        self.call(elementwise.add, (_width(op.y), bits_of(op.y)), [a, b, y], tokens=_tokens(op.y), numbers=shifts)

    def _rescale(self, op: Any, x: Buffer, y: Buffer) -> None:
        element = str(op.y.type.element_type)
        shifts = self._channel_shifts(exponents_of(op.y), exponent_of(op.x), _width(op.x))
        constants = (_width(op.x), bits_of(op.y), element)
        self.call(elementwise.rescale_channels, constants, [x, shifts, y], tokens=_tokens(op.x))

    def _swiglu(self, op: Any, gate: Buffer, *rest: Buffer) -> None:
        exponent, (*up, y) = exponent_of(op.gate), rest
        both = exponent + (exponent_of(op.up) if up else 0)
        shifts = self._channel_shifts(exponents_of(op.y), both, _width(op.y))
        pointers, constants = [gate, *up, shifts, self.table(activation_of(op)), y], (_width(op.y), bits_of(op.y))
        self.call(elementwise.swiglu, (*constants, bool(up)), pointers, tokens=_tokens(op.y), numbers=[exponent + 12])

    def _channel_shifts(self, symbol: str, exponent: int, channels: int) -> Buffer:
        packed = elementwise.channel_shifts(symbol, exponent, channels)
        return self.shared.parameter(packed, "channel_shifts", exponent)

    def _last_token(self, op: Any, x: Buffer, y: Buffer) -> None:
        self.call(elementwise.last_token, (self._bytes(op.y, op),), [x, y], tokens=_tokens(op.x))

    def _argmax(self, op: Any, x: Buffer, y: Buffer) -> None:
        self.call(elementwise.argmax, (_width(op.x),), [x, y], tokens=_tokens(op.x))

    def _rope(self, op: Any, x: Buffer, position: Buffer, y: Buffer) -> None:
        heads, positions = int(op.heads.value), int(op.positions.value)
        channels = _width(op.x) // heads
        rotated = int(op.number("rotated", channels))
        tables = [self.array(symbol.value, positions * rotated) for symbol in (op.cosines, op.sines)]
        position = self._position(op, position, positions, "positions of the RoPE tables", _tokens(op.x))
        constants = (heads, channels, rotated, "interleaved" in op.attributes, bits_of(op.y))
        self.call(attention.rope, constants, [x, position, *tables, y], tokens=_tokens(op.x))

    def _tanh(self, op: Any, x: Buffer, y: Buffer) -> None:
        numbers = exponent_of(op.x) + 13, int(op.multiplier.value), int(op.shift.value)
        pointers, constants = [x, self.table("silu"), y], (_width(op.y), bits_of(op.y))
        self.call(elementwise.soft_cap, constants, pointers, tokens=_tokens(op.x), numbers=numbers)

    def _slice(self, op: Any, x: Buffer, y: Buffer) -> None:
        groups, start = int(op.groups.value), int(op.start.value)
        constants = (_width(op.y), _width(op.x) // groups, start, _width(op.y) // groups)
        self.call(elementwise.slice_channels, constants, [x, y], tokens=_tokens(op.x))

    def _append(self, op: Any) -> None:
        cache, new, position = op.operation.operands
        if not isinstance(cache.owner, ir.Block) or len(list(cache.uses)) != 1:
            _fail(
                op, "expected cache to be an argument that nothing else reads, got another value; it changes in place"
            )
        tokens, rows = _tokens(new), cache.type.shape[0]
        place = self._position(op, self.values[position], rows, "rows of the KV cache", tokens)
        size, caches = _width(cache) * cache.type.element_type.width // 8, self._cache(op, self.values[cache])
        self.call(attention.append, (size,), [caches, self.values[new], place], tokens=tokens, writes=0)
        self.values[op.operation.results[0]] = caches

    def _attention(self, op: Any, query: Buffer, keys: Buffer, values: Buffer, position: Buffer, y: Buffer) -> None:
        heads, kv_heads = int(op.heads.value), int(op.kv_heads.value)
        channels, rows = _width(op.query) // heads, op.keys.type.shape[0]
        position = self._position(op, position, rows, "rows of the KV cache", _tokens(op.query))
        keys, values = self._cache(op, keys), self._cache(op, values)
        packed = attention.output_shifts(exponents_of(op.values), exponents_of(op.y), heads, kv_heads, channels)
        shifts = self.shared.parameter(packed, "output_shifts")
        multiplier = self.array(op.multiplier.value, 4 * heads)
        window = op.number("window")
        softcap = op.number("softcap", 0)
        constants = (heads, kv_heads, channels, bits_of(op.y), self.shared.level, window, softcap)
        tables = [self.table(name) for name in ("exp2", "reciprocal", *(["silu"] if softcap else []))]
        self._scratch(attention.scratch_bytes(rows, channels))
        pointers = [query, keys, values, position, multiplier, shifts, *tables, y]
        numbers = [int(op.shift.value)]
        self.call(attention.attention, constants, pointers, tokens=_tokens(op.query), numbers=numbers)

    def _linear(self, op: Any, x: Buffer, y: Buffer) -> None:
        scheme, width = scheme_of(op), _width(op.x)
        shape = LinearShape(scheme, width // 2, _width(op.y), self.shared.level)
        source = x if scheme.kind == "exact" else self._search(op, x, shape)
        place, symbols = self.shared.parameter, {p.attribute: p.symbol for p in op.parameters()}
        book = place(shape.book(symbols["weight_codebook"]), "book")
        shifts = place(shape.shifts(symbols["shifts"]), "shifts")
        factors = place(shape.factors(symbols["shifts"]), "factors")
        codes = place(shape.codes(symbols["codes"]), "codes")
        requantizer = place(shape.requantizer(symbols["bias"], symbols["multiplier"]), "requantizer")
        shift, tokens = [int(op.shift.value)], _tokens(op.x)
        if tokens is None or tokens > FEW:
            self._scratch(linear.TILES[0] * shape.token_bytes)
            pointers = [source, book, shifts, codes, factors, requantizer, y]
            few = None if tokens else False
            self.call(linear.many, (shape,), pointers, tokens=tokens, numbers=shift, few=few)
        if tokens is None or tokens <= FEW:
            few, most = None if tokens else True, tokens or min(FEW, self.shared.tokens)
            rows = Buffer("arena", shape.blocks * shape.token_bytes * most)
            self.call(linear.rows, (shape,), [source, book, shifts, rows], tokens=tokens, few=few)
            pointers = [rows, codes, factors, requantizer, y]
            self.call(linear.lookup, (shape,), pointers, tokens=tokens, numbers=shift, few=few)

    def _search(self, op: Any, x: Buffer, shape: LinearShape) -> Buffer:
        """The centroids of an input, searched once for all that read it."""
        s, symbol, tokens = shape.scheme, op.attributes["codebook"].value, _tokens(op.x)
        key = (id(x), symbol, s.metric)
        if key not in self.searched:
            most = self.shared.tokens if tokens is None else tokens
            chosen = self.searched[key] = Buffer("arena", most * shape.pairs * s.S * 4)
            book = self.shared.parameter(codebook(symbol, shape.pairs, s.S, s.c_a), "codebook")
            constants = (shape.pairs, s.S, s.c_a, s.metric)
            self.call(linear.search, constants, [x, book, chosen], tokens=tokens)
        return self.searched[key]

    def _position(self, op: Any, position: Buffer, rows: int, what: str, tokens: int | None) -> Buffer:
        """The positions of tokens, of an argument that is the first."""
        if position.kind != "argument":
            _fail(op, "expected position to be an argument of the function, got a computed value; pass it in")
        self.limits.append((position.index, rows, what, tokens))
        return self._of_tokens("positions", position)

    def _cache(self, op: Any, cache: Buffer) -> Buffer:
        if cache.kind not in ("argument", "caches"):
            _fail(op, "expected a cache to be an argument of the function, got a computed value; pass it in")
        return self._of_tokens("caches", cache)

    def _of_tokens(self, kind: str, argument: Buffer) -> Buffer:
        return self.each.setdefault((kind, argument.index), Buffer(kind, 0, index=argument.index))

    def _scratch(self, size: int) -> None:
        self.shared.scratch_bytes = max(self.shared.scratch_bytes, -(-size // ALIGN) * ALIGN)


_OPS: dict[str, Callable[..., None]] = {
    "lut.linear": _Function._linear,
    "lut.embedding": _Function._embedding,
    "lut.rms_norm": _Function._rms_norm,
    "lut.add": _Function._add,
    "lut.rescale": _Function._rescale,
    "lut.swiglu": _Function._swiglu,
    "lut.last_token": _Function._last_token,
    "lut.argmax": _Function._argmax,
    "lut.rope": _Function._rope,
    "lut.slice": _Function._slice,
    "lut.tanh": _Function._tanh,
    "lut.attention": _Function._attention,
}


def _fail(op: Any, message: str) -> NoReturn:
    raise fault(op, message)


def _tensor(value: ir.Value, op: Any) -> Tensor:
    type_ = value.type
    if not isinstance(type_, ir.RankedTensorType) or type_.rank not in (1, 2):
        _fail(op, f"expected tensors of rank 1 or 2, got {type_}; flatten the dimensions of tokens")
    if not isinstance(type_.element_type, ir.IntegerType) or any(type_.is_dynamic_dim(i) for i in range(1, type_.rank)):
        _fail(op, f"expected integers with static channels, got {type_}; change the type")
    sizes = [None if type_.is_dynamic_dim(i) else type_.get_dim_size(i) for i in range(type_.rank)]
    width = type_.element_type.width
    return Tensor(tuple(sizes), np.dtype(f"int{width}"), (fixed_of(type_) or (width, 0))[0])


def _tokens(value: ir.Value) -> int | None:
    return None if value.type.is_dynamic_dim(0) else value.type.get_dim_size(0)


def _width(value: ir.Value) -> int:
    return value.type.shape[-1]
