"""Fixtures: a context, and two modules made by the builders, in which every tensor op of the dialect occurs."""

import pytest

from lutllm import dialect
from lutllm.bindings import func, ir
from lutllm.dialect.linears import parameters
from lutllm.scheme import Scheme

VQ = Scheme(c_a=16, G=4, R=2)
EXACT = Scheme(kind="exact", c_a=0, S=0, G=4, R=2)
PAIRS, OUTPUTS = 5, 6
CHANNELS, VOCABULARY, CONTEXT, HEADS, KV_HEADS = 8, 12, 16, 4, 2
KEYS = CHANNELS // HEADS * KV_HEADS


@pytest.fixture
def ctx() -> ir.Context:
    return dialect.context()


@pytest.fixture
def layers(ctx: ir.Context) -> ir.Module:
    module = ir.Module.create(ir.Location.unknown(ctx))
    blocks = VQ.blocks(OUTPUTS)
    specs = {
        "codes": parameters.codes(VQ, PAIRS, OUTPUTS),
        "weight_codebook": parameters.weight_codebook(VQ, PAIRS, blocks),
        "shifts": parameters.shifts(PAIRS),
        "multiplier": parameters.per_output(OUTPUTS),
        "bias": parameters.per_output(OUTPUTS),
        "tables": parameters.tables(VQ, PAIRS, blocks),
        "input.codebook": parameters.codebook(VQ, PAIRS),
        "input.exponents": parameters.exponents(PAIRS),
    }
    for name, (shape, dtype) in specs.items():
        dialect.declare(module, f"q.{name}", shape, dtype)
    for name, scheme in (("vq", VQ), ("exact", EXACT)):
        dialect.declare_scheme(module, scheme, name)
    with ctx, ir.Location.unknown(), ir.InsertionPoint(module.body):
        floats = ir.Type.parse(f"tensor<2x?x{2 * PAIRS}xf32>")
        func.FuncOp.from_py_func(floats, name="main")(_body)
    return module


def _body(x: ir.Value) -> list[ir.Value]:
    vq, exact = {"scheme": "vq", "weights": "q"}, {"scheme": "exact", "weights": "q"}
    book, end = {"codebook": "q.input.codebook"}, {"shift": 20, "out_exponent": -6}
    x = dialect.quantize(x, exponents="q.input.exponents")
    indices = dialect.centroid_search(x, scheme="vq", **book)
    rows = [
        dialect.stored_table(indices, **vq),
        dialect.built_table(indices, **vq, **book),
        dialect.built_row(indices, **vq, **book),
    ]
    terms = [dialect.table_lookup(row, **vq) for row in rows]
    terms.append(dialect.table_lookup(dialect.exact_row(x, **exact), **exact))
    sums = [dialect.prefix_sum(term) for term in terms]
    sums.append(dialect.prefix_sum(terms[0], sums[0]))
    outputs = [dialect.requantize(acc, weights="q", **end) for acc in sums]
    outputs.append(dialect.linear(x, **vq, **book, **end))
    return [dialect.dequantize(y) for y in outputs]


@pytest.fixture
def decoder(ctx: ir.Context) -> ir.Module:
    """A decoder layer without its linears: all its tensors have as many channels as queries, or as keys."""
    module = ir.Module.create(ir.Location.unknown(ctx))
    specs = {
        "e.rows": parameters.embedding_rows(VOCABULARY, CHANNELS),
        "e.multiplier": parameters.per_output(VOCABULARY),
        "n.gain": parameters.per_output(CHANNELS),
        "rope.cosines": parameters.rotations(CONTEXT, CHANNELS // HEADS // 2),
        "rope.sines": parameters.rotations(CONTEXT, CHANNELS // HEADS // 2),
        "a.query.exponents": parameters.exponents(CHANNELS // 2),
        "a.key.exponents": parameters.exponents(KEYS // 2),
        "a.value.exponents": parameters.exponents(KEYS // 2),
        "a.multiplier": parameters.per_output(HEADS),
        "o.input.exponents": parameters.exponents(CHANNELS // 2),
    }
    for name, (shape, dtype) in specs.items():
        dialect.declare(module, name, shape, dtype)
    with ctx, ir.Location.unknown(), ir.InsertionPoint(module.body):
        cache, new = f"tensor<{CONTEXT}x{KEYS}xi8, #lut.fixed<8, @a.", f"tensor<?x{KEYS}xi32, #lut.fixed<24, -14>>"
        types = ["tensor<?xi32>", "tensor<1xi32>", f"{cache}key.exponents>>", f"{cache}value.exponents>>", new]
        func.FuncOp.from_py_func(*(ir.Type.parse(type_) for type_ in types), name="main")(_decoder)
    return module


@pytest.fixture
def floats(ctx: ir.Context) -> ir.Module:
    """A decoder layer on floats, in which every float op occurs."""
    symbols = {"e.weight": (12, 8), "n.weight": (8,), "q.weight": (8, 8), "k.weight": (4, 8), "k.bias": (4,), "f": (1,)}
    declared = "\n".join(
        f"ml_program.global private @{name}(#ml_program.extern : {type_}) : {type_}"
        for name, type_ in ((n, f"tensor<{'x'.join(map(str, shape))}xf32>") for n, shape in symbols.items())
    )
    module = ir.Module.parse(declared, ctx)
    with ctx, ir.Location.unknown(), ir.InsertionPoint(module.body):
        types = [ir.Type.parse(type_) for type_ in ("tensor<?xi32>", "tensor<1xi32>")]
        func.FuncOp.from_py_func(*types, name="forward")(_float_layer)
    return module


def _float_layer(ids: ir.Value, position: ir.Value) -> ir.Value:
    x = dialect.float_embedding(ids, name="e", weight="e.weight")
    n = dialect.float_norm(x, name="n", gain="n.weight", epsilon=1e-5)
    q = dialect.float_linear(n, name="q", weight="q.weight")
    k = dialect.float_linear(n, name="k", weight="k.weight", bias="k.bias")
    q = dialect.float_rope(q, position, name="q.rope", frequencies="f", heads=4)
    read = dialect.float_attention(q, k, k, name="a", heads=4, kv_heads=2, scale=0.5)
    part = dialect.float_slice(dialect.float_tanh(n, name="t", scale=2.0), name="s", groups=4, start=0, channels=8)
    return dialect.float_add(x, dialect.float_gated(part, read, name="g"), name="r")


def _decoder(
    ids: ir.Value, position: ir.Value, keys: ir.Value, values: ir.Value, projected: ir.Value
) -> list[ir.Value]:
    tables = {"positions": CONTEXT, "cosines": "rope.cosines", "sines": "rope.sines"}
    x = dialect.embedding(
        ids,
        rows="e.rows",
        multiplier="e.multiplier",
        shift=4,
        vocabulary=VOCABULARY,
        channels=CHANNELS,
        exponent=-16,
    )
    n = dialect.rms_norm(x, gain="n.gain", groups=1, epsilon=40, shift=12, exponent=-20)
    query = dialect.rescale(dialect.rope(n, position, heads=HEADS, **tables), exponents="a.query.exponents", bits=16)
    key = dialect.rope(projected, position, heads=KV_HEADS, **tables)
    keys = dialect.append(keys, dialect.rescale(key, exponents="a.key.exponents", bits=8), position)
    values = dialect.append(values, dialect.rescale(projected, exponents="a.value.exponents", bits=8), position)
    read = dialect.attention(
        query,
        keys,
        values,
        position,
        heads=HEADS,
        kv_heads=KV_HEADS,
        multiplier="a.multiplier",
        shift=20,
        exponents="o.input.exponents",
    )
    x = dialect.add(x, n, exponent=-15)
    n = dialect.slice_channels(dialect.tanh(n, multiplier=9, shift=3, exponent=-16), groups=1, start=0, channels=8)
    gated = dialect.swiglu(x, n, exponents="o.input.exponents")
    last = dialect.last_token(x)
    return [dialect.argmax(last), last, keys, values, read, gated]
