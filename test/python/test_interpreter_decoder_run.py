"""`run` hands every decoder op the numbers its types, attributes and symbols say: the documented examples, executed."""

from collections.abc import Callable

import numpy as np
import pytest

from lutllm import dialect, interpreter
from lutllm.bindings import ir
from lutllm.dialect import documentation
from lutllm.dialect.symbols import op_parameters
from lutllm.errors import IRError, NumericsError
from lutllm.interpreter import decoder

Arrays = dict[str, np.ndarray]
CTX = dialect.context()
RNG = np.random.default_rng(3)
X, W = RNG.integers(-(1 << 20), 1 << 20, (2, 3, 8))
KEYS, VALUES = RNG.integers(-128, 128, (2, 16, 4))
NEW, QUERY = RNG.integers(-128, 128, (3, 4)), RNG.integers(-(1 << 15), 1 << 15, (3, 8))
LOGITS = RNG.integers(-99, 99, (1, 6))
POSITION = np.array([5])

# Inputs of the op's example, and the same by hand from the store.
CASES: dict[type, tuple[list[np.ndarray], Callable[[Arrays], np.ndarray]]] = {
    dialect.EmbeddingOp: (
        [np.array([1, 31, 0]), POSITION],
        lambda s: decoder.embedding(np.array([1, 31, 0, 5, 6, 7]), s["e.rows"], s["e.multiplier"], 10, 26),
    ),
    dialect.RmsNormOp: ([X], lambda s: decoder.rms_norm(X, s["n.gain"], 1, 40, 12, 28)),
    dialect.AddOp: ([X, W], lambda s: decoder.add(X, W, 0, -4, 26)),
    dialect.RescaleOp: ([X], lambda s: decoder.rescale_channels(X, -20, s["q.input.exponents"], 16)),
    dialect.SwigluOp: ([X, W], lambda s: decoder.swiglu(X, W, -20, -20, s["q.input.exponents"], 16)),
    dialect.TanhOp: ([X], lambda s: decoder.soft_cap(X, -20, 30720, 4, 26)),
    dialect.SliceOp: ([np.arange(36).reshape(3, 12)], lambda s: np.arange(36).reshape(3, 12)[:, [4, 5, 10, 11]]),
    dialect.LastTokenOp: ([X], lambda s: X[2:]),
    dialect.ArgmaxOp: ([LOGITS], lambda s: LOGITS.argmax(axis=1)),
    dialect.RopeOp: ([X, POSITION], lambda s: decoder.rope(X, POSITION, 2, s["rope.cosines"], s["rope.sines"], 28)),
    dialect.AppendOp: ([KEYS, NEW, POSITION], lambda s: np.concatenate((KEYS[:5], NEW, KEYS[8:]))),
    dialect.AttentionOp: (
        [QUERY, KEYS, VALUES, POSITION],
        lambda s: decoder.attention(
            QUERY,
            KEYS,
            VALUES,
            POSITION,
            heads=4,
            kv_heads=2,
            multiplier=s["a.multiplier"],
            shift=20,
            value_exponents=s["a.value.exponents"],
            exponents=s["q.input.exponents"],
            bits=16,
        ),
    ),
}


def _module(op: type[dialect.LutOp]) -> ir.Module:
    with CTX:
        text = f"{documentation.example_aliases()}\n{op.EXAMPLE}"
    return ir.Module.parse(text, CTX)


def _store(module: ir.Module) -> Arrays:
    wanted = [p for op in dialect.lut_ops(module) for p in op_parameters(op)]
    store = {p.symbol: RNG.integers(1, 100, p.shape).astype(p.dtype) for p in wanted}
    near = {name: RNG.integers(-12, -8, array.shape).astype(np.int8) for name, array in store.items() if "exp" in name}
    store |= near
    for name in ("a.query.exponents", "a.key.exponents"):  # of one head each, so that their sums agree
        if name in store:
            store[name][:] = -9
    return store


def test_every_decoder_op_has_a_case() -> None:
    modules = ("lutllm.dialect.decoders.ops", "lutllm.dialect.decoders.attention")
    assert set(CASES) == {op for op in dialect.Lut.operations if op.__module__ in modules}


@pytest.mark.parametrize("op", CASES, ids=lambda op: op.OPERATION_NAME)
def test_run_is_the_function_of_the_op(op: type[dialect.LutOp]) -> None:
    inputs, by_hand = CASES[op]
    module = _module(op)
    store = _store(module)
    got = np.concatenate(interpreter.run(module, inputs, store))
    assert got.dtype == np.int64 and got.any()
    np.testing.assert_array_equal(got, by_hand(store))


def test_uneven_exponents_of_scores_are_a_located_error() -> None:
    inputs, _ = CASES[dialect.AttentionOp]
    module = _module(dialect.AttentionOp)
    store = _store(module)
    # Heads have one pair each, so any exponents will do: heads 0, 1 read kv head 0.
    store["a.query.exponents"][2] = -3
    interpreter.run(module, inputs, store)
    wide = str(module).replace("heads = 4", "heads = 2").replace("kv_heads = 2", "kv_heads = 1")
    store["a.multiplier"] = store["a.multiplier"][:2]
    with pytest.raises(NumericsError) as caught:
        interpreter.run(ir.Module.parse(wide, CTX), inputs, store)
    message = "expected exponents of query and keys to add up to one number in head 1, got -18..-12; quantize again"
    assert caught.value.message == message
    assert caught.value.location is not None


def test_a_full_cache_is_a_located_error() -> None:
    (cache, new, _), _ = CASES[dialect.AppendOp]
    module = _module(dialect.AppendOp)
    with pytest.raises(NumericsError, match=r"^-:\d+:\d+: error: cache full: expected positions in 0..15, got 14..16"):
        interpreter.run(module, [cache, new, np.array([14])], _store(module))


def test_functions_are_chosen_by_name_and_give_all_results() -> None:
    text = """
func.func @prefill(%x: tensor<?xi32>, %c: tensor<1xi32>) -> (tensor<1xi32>, tensor<?xi32>) {
  return %c, %x : tensor<1xi32>, tensor<?xi32>
}
func.func @decode(%x: tensor<1xi32>) -> tensor<1xi32> {
  return %x : tensor<1xi32>
}"""
    module = ir.Module.parse(text, CTX)
    ids, position = np.array([4, 5, 6]), np.array([0])
    first, second = interpreter.run(module, [ids, position], {}, function="prefill")
    assert first.tolist() == [0] and second.tolist() == [4, 5, 6]
    assert interpreter.run(module, [position], {}, function="decode")[0].tolist() == [0]
    with pytest.raises(IRError, match="expected one function with a body, got @prefill, @decode; name one of these"):
        interpreter.run(module, [position], {})
