"""LEGACY, to be deleted: emission: what is known of a quantized decoder in, its `lut` program out.

One module, three functions over the same parameters and KV cache. @prefill takes any number of token ids and @decode
one; both return the next token, its logits and the caches. @score returns the logits of all tokens instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lutllm import dialect, store
from lutllm.bindings import func, ir
from lutllm.decoder import COSINES, QUERY_BITS, SINES, Attention, Layer, Norm, QuantizedDecoder
from lutllm.dialect import decoder_builders as build
from lutllm.errors import InputError, IRError
from lutllm.lowering.decoder_spec import DecoderSpec

FUNCTIONS = ("prefill", "decode", "score")


def decoder_to_lut(spec: DecoderSpec | QuantizedDecoder, context: int = 0) -> ir.Module:
    """The program of a decoder, verified, in a context of its own. `context` tokens fit its KV cache; 0: as many as
    there are RoPE positions."""
    spec = DecoderSpec.of(spec) if isinstance(spec, QuantizedDecoder) else spec
    with dialect.context(), ir.Location.unknown():
        module = ir.Module.create()
        emit_decoder(module, spec, context)
    if not dialect.verify(module):
        raise IRError("expected a valid program of the decoder, got the diagnostics above; quantize the model again")
    return module


def emit_decoder(module: ir.Module, spec: DecoderSpec, context: int = 0) -> None:
    """Declare the globals in an empty module and write its three functions."""
    context = context or spec.positions
    if not 1 <= context <= spec.positions:
        raise InputError(
            f"expected a context of 1..{spec.positions} tokens, as the RoPE tables have positions, got {context}; "
            "choose a shorter context, or quantize with more positions"
        )
    missing = spec.missing()
    if missing:
        raise InputError(f"expected quantized parameters of '{missing}', got none; quantize the whole model")
    with module.context, ir.Location.unknown():
        dialect.declare_all(module, spec.globals())
        for name in FUNCTIONS:
            _Function(module, spec, context, name).emit()
        if spec.sha256 is not None:
            module.operation.attributes["lut.store"] = dialect.store_attr(store.PARAMETERS, spec.sha256)


class _Function:
    """Writes one of the three functions."""

    def __init__(self, module: ir.Module, spec: DecoderSpec, context: int, name: str) -> None:
        self.module, self.spec, self.name = module, spec, name
        tokens = 1 if name == "decode" else ir.ShapedType.get_dynamic_size()
        i32 = ir.IntegerType.get_signless(32)
        caches = [_cache(layer.attention, spec, context, part) for layer in spec.decoder.layers for part in _PARTS]
        self.inputs = [ir.RankedTensorType.get([n], i32) for n in (tokens, 1)] + caches

    def emit(self) -> None:
        d = self.spec.decoder
        names = ["ids", "position", *(f"{layer.attention.name}.{part}s" for layer in d.layers for part in _PARTS)]
        with ir.InsertionPoint(self.module.body):
            function = func.FuncOp(self.name, (self.inputs, []))
        block = function.add_entry_block([ir.Location.name(name) for name in names])
        ids, self.position, *caches = block.arguments
        with ir.InsertionPoint(block):
            results = [*self.tokens_in(ids, caches)]
            func.ReturnOp(results)
        type_ = ir.FunctionType.get(self.inputs, [value.type for value in results])
        function.attributes["function_type"] = ir.TypeAttr.get(type_)

    def tokens_in(self, ids: ir.Value, caches: list[ir.Value]) -> Iterator[ir.Value]:
        d = self.spec.decoder
        x = self.embedding(ids)
        kept: list[ir.Value] = []
        for i, layer in enumerate(d.layers):
            x, *new = self.layer(x, layer, *caches[2 * i : 2 * i + 2])
            kept += new
        with _at(d.final_norm.name):
            x = x if self.name == "score" else build.last_token(x)
        logits = self.linear(self.normalised(x, d.final_norm, d.head), d.head)
        if self.name != "score":
            with _at(d.head):
                yield build.argmax(logits)
        yield logits
        yield from kept

    def embedding(self, ids: ir.Value) -> ir.Value:
        d, e = self.spec.decoder, self.spec.embedding
        with _at(d.embedding):
            return build.embedding(
                ids,
                rows=f"{d.embedding}.rows",
                multiplier=f"{d.embedding}.multiplier",
                shift=e.shift,
                vocabulary=d.vocabulary,
                channels=d.hidden,
                exponent=e.exponent,
            )

    def layer(self, x: ir.Value, layer: Layer, keys: ir.Value, values: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
        y, keys, values = self.attention(
            self.normalised(x, layer.input_norm, layer.attention.query), layer, keys, values
        )
        x = self.add(x, y, layer, "attention")
        inner = self.normalised(x, layer.mlp_norm, layer.gate)
        gate, up = self.linear(inner, layer.gate), self.linear(inner, layer.up)
        down = self.spec.linears[layer.down]
        with _at(layer.down.rpartition(".")[0]):
            hidden = build.swiglu(gate, up, exponents=down.exponents, bits=down.scheme.x_bits)
        return self.add(x, self.linear(hidden, layer.down), layer, "mlp"), keys, values

    def attention(
        self, x: ir.Value, layer: Layer, keys: ir.Value, values: ir.Value
    ) -> tuple[ir.Value, ir.Value, ir.Value]:
        a = layer.attention
        spec, output = self.spec.attentions[a.name], self.spec.linears[a.output]
        query = self.rotated(self.linear(x, a.query), a, a.heads, a.query_norm)
        key = self.rotated(self.linear(x, a.key), a, a.kv_heads, a.key_norm)
        value = self.linear(x, a.value)
        with _at(a.name):
            query = build.rescale(query, exponents=f"{a.name}.query.exponents", bits=QUERY_BITS)
            key = build.rescale(key, exponents=f"{a.name}.key.exponents", bits=spec.cache_bits)
            value = build.rescale(value, exponents=f"{a.name}.value.exponents", bits=spec.cache_bits)
            keys = build.append(keys, key, self.position)
            values = build.append(values, value, self.position)
            seen = build.attention(
                query,
                keys,
                values,
                self.position,
                heads=a.heads,
                kv_heads=a.kv_heads,
                multiplier=f"{a.name}.multiplier",
                shift=spec.shift,
                exponents=output.exponents,
                bits=output.scheme.x_bits,
            )
        return self.linear(seen, a.output), keys, values

    def rotated(self, x: ir.Value, a: Attention, heads: int, norm: Norm | None) -> ir.Value:
        x = x if norm is None else self.norm(x, norm)
        with _at(a.name):
            return build.rope(
                x, self.position, heads=heads, positions=self.spec.positions, cosines=COSINES, sines=SINES
            )

    def norm(self, x: ir.Value, norm: Norm) -> ir.Value:
        spec = self.spec.norms[norm.name]
        with _at(norm.name):
            return build.rms_norm(
                x,
                gain=f"{norm.name}.gain",
                groups=norm.groups,
                epsilon=spec.epsilon,
                shift=spec.gain_shift,
                exponent=spec.exponent,
            )

    def normalised(self, x: ir.Value, norm: Norm, reader: str) -> ir.Value:
        """The norm of the residual stream as the input of the linear `reader` and those beside it."""
        spec = self.spec.linears[reader]
        y = self.norm(x, norm)
        with _at(spec.input_name):
            return build.rescale(y, exponents=spec.exponents, bits=spec.scheme.x_bits)

    def linear(self, x: ir.Value, name: str) -> ir.Value:
        spec = self.spec.linears[name]
        with _at(name):
            return dialect.linear(
                x,
                scheme=spec.scheme,
                shift=spec.shift,
                out_exponent=spec.out_exponent,
                outputs=spec.outputs,
                **spec.symbols(),
            )

    def add(self, x: ir.Value, y: ir.Value, layer: Layer, part: str) -> ir.Value:
        with _at(layer.name):
            return build.add(x, y, exponent=self.spec.residuals[f"{layer.name}.{part}"])


_PARTS = ("key", "value")


def _cache(a: Attention, spec: DecoderSpec, context: int, part: str) -> ir.Type:
    bits = spec.attentions[a.name].cache_bits
    element = ir.IntegerType.get_signless(8 if bits <= 8 else 16)
    meaning = dialect.fixed(bits, f"{a.name}.{part}.exponents")
    return ir.RankedTensorType.get([context, a.kv_heads * a.head_dim], element, meaning)


@contextmanager
def _at(name: str) -> Iterator[None]:
    """Ops of the PyTorch module `name`."""
    with ir.Location.name(name):
        yield
