"""Raising: the torch-level IR of a whole model in, its structure out (`lutllm.decoder.Decoder`).

`torch_ir.patterns` says what each value is; here the values are put together: layers of norm, attention, residual,
norm, MLP, residual between an embedding and an LM head. Names are PyTorch module paths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from lutllm.bindings import ir, source_position
from lutllm.decoder import Attention, Decoder, Layer, Norm
from lutllm.errors import IRError
from lutllm.lowering.torch_ir.linears import known_sizes
from lutllm.lowering.torch_ir.patterns import read_function
from lutllm.lowering.torch_ir.reader import DOWNSTREAM, Reader, Term, Unmatched

_SHOWN = 3  # unmatched ops an error spells out


@dataclass(frozen=True)
class Raised:
    """A decoder, or every op that keeps the model from being one."""

    decoder: Decoder | None
    unmatched: Sequence[Unmatched]


class _Misplaced(Exception):
    """A known term where another is needed."""

    def __init__(self, unmatched: Unmatched) -> None:
        super().__init__(unmatched.expected)
        self.unmatched = unmatched


def raise_decoder(module: ir.Module | ir.Operation, parameters: Mapping[str, Any] | None = None) -> Decoder:
    """The decoder a model imported whole (`models.wrappers.whole_model`) computes; `IRError` at what is none.

    `parameters`, by global, give RoPE its inverse frequencies; without them the decoder has none, as IR alone has none.
    """
    raised = read_decoder(module, parameters)
    if raised.decoder is not None:
        return raised.decoder
    roots = [u for u in raised.unmatched if u.expected != DOWNSTREAM] or list(raised.unmatched)
    shown = "; ".join(_one_line(u, located=i > 0) for i, u in enumerate(roots[:_SHOWN]))
    more = f"; and {len(raised.unmatched) - _SHOWN} more" if len(raised.unmatched) > _SHOWN else ""
    raise IRError(f"{shown}{more}; `lutllm check` lists them all", location=roots[0].location)


def read_decoder(module: ir.Module | ir.Operation, parameters: Mapping[str, Any] | None = None) -> Raised:
    """As `raise_decoder`, with every op that does not fit instead of an error."""
    function = next((op for op in module.operation.regions[0].blocks[0] if op.operation.name == "func.func"), None)
    if function is None:
        where = source_position(module.operation.location)
        raise IRError("expected a function with the model, got none; import the whole model", location=where)
    reader = read_function(function)
    if reader.unmatched:
        return Raised(None, reader.unmatched)
    try:
        return Raised(_Assembly(function, reader, parameters).decoder(), ())
    except _Misplaced as problem:
        return Raised(None, (problem.unmatched,))


def _one_line(found: Unmatched, located: bool) -> str:
    place = f" in '{found.module}'" if found.module else ""
    line = f" ({found.location})" if located and found.location else ""
    return f"'{found.op}' op{place}{line}: {found.expected}"


class _Assembly:
    """Puts the terms of one function together, from the logits back to the embedding."""

    def __init__(self, function: Any, reader: Reader, parameters: Mapping[str, Any] | None) -> None:
        self.function, self.reader, self.parameters = function.operation, reader, parameters
        self.ropes: dict[tuple[str, float], Term] = {}

    def decoder(self) -> Decoder:
        head = self.want(
            self.reader.results[0] if self.reader.results else None, "linear", "an LM head, a linear, as the result"
        )
        final = self.want(head.inputs[0], "norm", "the final RMSNorm before the LM head")
        stream, layers = final.inputs[0], []
        while stream.kind == "add":
            layer, stream = self.layer(stream)
            layers.append(layer)
        embedding = self.want(stream, "embedding", "the embedding of the tokens at the start of the residual stream")
        self.distinct(layers, stream)
        hidden, vocabulary = embedding.channels, known_sizes(embedding.op.operands[0])[0][0]
        if head.channels != vocabulary:
            self.fail(head, f"an LM head of {vocabulary} outputs, as many as embeddings, got {head.channels}")
        if not layers:
            self.fail(final, "at least one decoder layer")
        (symbol, scale), _ = next(iter(self.ropes.items()))
        return Decoder(
            embedding=_path(embedding, embedding.data),
            layers=tuple(reversed(layers)),
            final_norm=_norm(final),
            head=head.data.name,
            vocabulary=vocabulary,
            hidden=hidden,
            inverse_frequencies=self.frequencies(symbol),
            rope_scale=scale,
        )

    def layer(self, end: Term) -> tuple[Layer, Term]:
        """The layer whose MLP ends in `end`, and the residual stream before it."""
        middle, down = end.inputs
        middle = self.want(middle, "add", "the residual of attention before that of the MLP", near=end)
        gated = self.want(down.inputs[0], "gated", "SiLU(gate) times up before the last linear of an MLP", near=down)
        gate, up = gated.inputs
        mlp_norm = self.reads(middle, gate, up)
        stream, output = middle.inputs
        found = self.want(
            output.inputs[0], "attention", "attention before the linear added to the residual", near=output
        )
        query, key, value = found.inputs
        q, query_norm = self.rotated(query, found)
        k, key_norm = self.rotated(key, found)
        v = self.want(value, "linear", "values that come from a linear as they are", near=found)
        input_norm = self.reads(stream, q, k, v)
        names = [term.data.name for term in (q, k, v, output)]
        heads = found.data
        attention = Attention(
            name=_common(names),
            heads=heads.heads,
            kv_heads=heads.kv_heads,
            head_dim=heads.head_dim,
            scale=heads.scale,
            query=names[0],
            key=names[1],
            value=names[2],
            output=names[3],
            query_norm=query_norm,
            key_norm=key_norm,
        )
        mlp = [term.data.name for term in (gate, up, down)]
        layer = Layer(
            name=_common([*names, *mlp]),
            input_norm=_norm(input_norm),
            attention=attention,
            mlp_norm=_norm(mlp_norm),
            gate=mlp[0],
            up=mlp[1],
            down=mlp[2],
            intermediate=gate.channels,
        )
        return layer, stream

    def rotated(self, value: Term, attention: Term) -> tuple[Term, Norm | None]:
        """The linear of queries or keys, and its norm where there is one."""
        rope = self.want(value, "rope", "queries and keys rotated by RoPE", near=attention)
        self.ropes.setdefault((rope.data.frequencies, rope.data.scale), rope)
        if len(self.ropes) > 1:
            self.fail(rope, "one set of RoPE frequencies for all layers, got a second")
        inner, norm = rope.inputs[0], None
        if inner.kind == "norm":
            norm, inner = _norm(inner), inner.inputs[0]
        return self.want(inner, "linear", "a linear, or its RMSNorm, before RoPE", near=rope), norm

    def reads(self, stream: Term, *linears: Term) -> Term:
        """The norm of the residual stream that all of these linears read."""
        norms = [self.want(x.inputs[0], "norm", "an RMSNorm before this linear", near=x) for x in linears]
        for norm, linear in zip(norms, linears, strict=True):
            if norm is not norms[0] or norm.inputs[0] is not stream or norm.data.groups != 1:
                self.fail(linear, "an input that is the RMSNorm of the residual stream, one for all linears beside it")
        return norms[0]

    def frequencies(self, symbol: str) -> tuple[float, ...]:
        if self.parameters is None:
            return ()
        return tuple(float(value) for value in self.parameters[symbol])

    def distinct(self, layers: Sequence[Layer], start: Term) -> None:
        """Parameters are found by name, so no two parts may have one name."""
        names = Counter(name for layer in layers for name in _names(layer))
        twice = [name for name, count in names.items() if count > 1 or not name]
        if twice:
            self.fail(start, f"parts with module paths of their own, got '{twice[0]}' {names[twice[0]]} times")

    def want(self, term: Term | None, kind: str, what: str, near: Term | None = None) -> Term:
        if term is None or term.kind != kind:
            self.fail(term if term is not None and term.op is not None else near, what)
        return term

    def fail(self, term: Term | None, what: str) -> NoReturn:
        op = term.op if term is not None and term.op is not None else self.function
        raise _Misplaced(Unmatched.at(op, f"expected {what}"))


def _norm(term: Term) -> Norm:
    return Norm(_path(term, term.data.gain), term.channels, term.data.epsilon, term.data.groups)


def _path(term: Term, symbol: str) -> str:
    """The module path in the location of a term's op, or its parameter's owner where there is none."""
    assert term.op is not None
    return Unmatched.at(term.op, "").module or symbol.removesuffix(".weight")


def _names(layer: Layer) -> Iterator[str]:
    yield from (layer.name, layer.attention.name, *layer.linears, *(norm.name for norm in layer.norms))


def _common(paths: Sequence[str]) -> str:
    """The innermost module that holds all of these."""
    parts = [path.split(".")[:-1] for path in paths]
    shared = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return ".".join(shared)
