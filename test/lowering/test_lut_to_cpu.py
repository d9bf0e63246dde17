"""Every decoder op as machine code against the interpreter: each feature level of this processor, 1 to 3 threads."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lutllm import dialect, interpreter
from lutllm.bindings import func, ir
from lutllm.cpu.features import available_levels
from lutllm.cpu.program import CpuProgram
from lutllm.dialect.decoders import builders as build
from lutllm.errors import IRError, NumericsError
from lutllm.lowering.cpu.lut_to_cpu import lower

TOKENS = 9
ROWS = 600  # of a cache: more than one block of keys
HEADS = ((4, 2, 12), (3, 1, 64), (2, 2, 16), (6, 2, 32))  # heads, kv_heads, channels of a head
Build = Callable[..., ir.Value]


def _tensor(shape: str, bits: int = 0, exponent: int | str = 0) -> str:
    meaning = f", #lut.fixed<{bits}, {'@' if isinstance(exponent, str) else ''}{exponent}>" if bits else ""
    return f"tensor<{shape}{meaning}>"


POSITION = _tensor("1xi32")
MODES: tuple[dict[str, Any], ...] = ({}, {"window": 5}, {"softcap": 9000}, {"window": 300, "softcap": 1})
FUNCTIONS: dict[str, tuple[list[str], Build]] = {
    "embedding": (
        [_tensor("?xi32")],
        lambda ids: build.embedding(
            ids, rows="e.rows", multiplier="e.multiplier", shift=3, vocabulary=37, channels=24, exponent=-16, bits=18
        ),
    ),
    "rms_norm": (
        [_tensor("?x48xi32", 26, -16)],
        lambda x: build.rms_norm(x, gain="n.gain", groups=1, epsilon=123456, shift=17, exponent=-20),
    ),
    "rms_norm_groups": (
        [_tensor("?x48xi32", 16, -10)],
        lambda x: build.rms_norm(x, gain="g.gain", groups=4, epsilon=0, shift=15, exponent=-20, bits=24),
    ),
    "add": (
        [_tensor("?x48xi32", 26, -16), _tensor("?x48xi32", 24, -13)],
        lambda a, b: build.add(a, b, exponent=-15),
    ),
    "rescale": ([_tensor("?x48xi32", 28, -20)], lambda x: build.rescale(x, exponents="x.exponents", bits=16)),
    "rescale_bytes": ([_tensor("?x48xi32", 28, -20)], lambda x: build.rescale(x, exponents="x.exponents", bits=8)),
    "swiglu": (
        [_tensor("?x48xi32", 24, -18), _tensor("?x48xi32", 22, -16)],
        lambda gate, up: build.swiglu(gate, up, exponents="x.exponents"),
    ),
    **{
        name: (
            [_tensor("?x48xi32", 24, -18)],
            lambda gate, name=name: build.swiglu(gate, None, exponents="x.exponents", activation=name),
        )
        for name in ("gelu", "gelu_tanh", "relu")
    },
    "layer_norm": (
        [_tensor("?x48xi32", 26, -16)],
        lambda x: build.rms_norm(
            x, gain="n.gain", groups=1, epsilon=123456, shift=17, exponent=-20, centered=True, bias="n.bias"
        ),
    ),
    "tanh": ([_tensor("?x48xi32", 26, -16)], lambda x: build.tanh(x, multiplier=30720, shift=4, exponent=-19)),
    "slice": (
        [_tensor("?x48xi32", 26, -16)],
        lambda x: build.slice_channels(x, groups=4, start=3, channels=20),
    ),
    "last_token": ([_tensor("?x48xi32", 26, -16)], build.last_token),
    "argmax": ([_tensor("?x48xi32", 24, -16)], build.argmax),
    "rope": (
        [_tensor("?x48xi32", 24, -16), POSITION],
        lambda x, p: build.rope(x, p, heads=4, positions=ROWS, cosines="cosines", sines="sines"),
    ),
    **{
        f"rope_{rotated}_{interleaved}": (
            [_tensor("?x48xi32", 24, -16), POSITION],
            lambda x, p, r=rotated, i=interleaved: build.rope(
                x,
                p,
                heads=48 // (r or 12) // (2 if r else 1),
                positions=ROWS,
                cosines="cosines",
                sines="sines",
                rotated=r,
                interleaved=i,
            ),
        )
        for rotated, interleaved in ((None, True), (12, False), (12, True))
    },
    "append": (
        [_tensor(f"{ROWS}x24xi8", 8, "k.exponents"), _tensor("?x24xi8", 8, "k.exponents"), POSITION],
        build.append,
    ),
    "two": (
        [_tensor("1x48xi32", 26, -16)],
        lambda x: build.add(build.add(x, x, exponent=-16), x, exponent=-17),
    ),
} | {
    f"attention{h}_{g}_{c}{''.join(named)}": (
        [
            _tensor(f"?x{h * c}xi16", 16, f"q{h}.exponents"),
            *[_tensor(f"{ROWS}x{g * c}xi8", 8, f"{part}{h}.exponents") for part in "kv"],
            POSITION,
        ],
        lambda q, k, v, p, h=h, g=g, named=named: build.attention(
            q, k, v, p, heads=h, kv_heads=g, multiplier=f"m{h}", shift=20, exponents=f"o{h}.exponents", **named
        ),
    )
    for h, g, c in HEADS
    for named in MODES
}


def _parameters() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)

    def exponents(channels: int, low: int, high: int) -> np.ndarray:
        return rng.integers(low, high, channels // 2).astype(np.int8)

    angles = np.arange(ROWS)[:, None] * np.array([1.0, 0.3, 0.1, 0.03, 0.01, 0.003])
    found = {
        "e.rows": rng.integers(-128, 128, (37, 24)).astype(np.int8),
        "e.multiplier": rng.integers(1, 1 << 15, 37).astype(np.int32),
        "n.gain": rng.integers(-(1 << 22), 1 << 22, 48).astype(np.int32),
        "n.bias": rng.integers(-(1 << 26), 1 << 26, 48).astype(np.int32),
        "g.gain": rng.integers(1, 1 << 22, 12).astype(np.int32),
        "x.exponents": exponents(48, -24, 2),
        "k.exponents": exponents(24, -6, -2),
        "cosines": np.rint(np.cos(angles) * 2**14).astype(np.int16),
        "sines": np.rint(np.sin(angles) * 2**14).astype(np.int16),
    }
    for heads, kv_heads, channels in HEADS:
        key = exponents(kv_heads * channels, -6, -2)
        of_query = np.repeat(key.reshape(kv_heads, -1), heads // kv_heads, axis=0).reshape(-1)
        found |= {
            f"q{heads}.exponents": (-16 - of_query).astype(np.int8),
            f"k{heads}.exponents": key,
            f"v{heads}.exponents": exponents(kv_heads * channels, -6, -2),
            f"o{heads}.exponents": exponents(heads * channels, -12, -8),
            f"m{heads}": rng.integers(1, 1 << 15, heads).astype(np.int32),
        }
    return found


PARAMETERS = _parameters()


def make(functions: dict[str, tuple[list[str], Build]]) -> ir.Module:
    with dialect.context(), ir.Location.file("test.py", 1, 2):
        module = ir.Module.create()
        for name, array in PARAMETERS.items():
            dialect.declare(module, name, array.shape, array.dtype)
        with ir.InsertionPoint(module.body):
            for name, (types, body) in functions.items():
                parsed = [ir.Type.parse(t) for t in types]
                function = func.FuncOp(name, (parsed, []))
                with ir.InsertionPoint(function.add_entry_block()):
                    result = body(*function.arguments)
                    func.ReturnOp([result])
                type_ = ir.FunctionType.get(parsed, [result.type])
                function.attributes["function_type"] = ir.TypeAttr.get(type_)
        assert dialect.verify(module)
        return module


@pytest.fixture(scope="module")
def module() -> ir.Module:
    return make(FUNCTIONS)


@pytest.fixture(scope="module", params=[(level, threads) for level in available_levels() for threads in (1, 3)])
def program(request: pytest.FixtureRequest, module: ir.Module) -> CpuProgram:
    level, threads = request.param
    return CpuProgram.of(module, PARAMETERS, tokens=TOKENS, threads=threads, level=level)


def inputs(name: str, tokens: int, position: int, seed: int) -> list[np.ndarray]:
    """Random inputs of the full width, with zeros, extremes and small values among them."""
    rng = np.random.default_rng(seed)
    made = []
    for type_ in FUNCTIONS[name][0]:
        shape = [tokens if n == "?" else int(n) for n in type_.split("<")[1].split("x")[:-1] if n.isdigit() or n == "?"]
        if type_ == POSITION:
            made.append(np.array([position]))
        elif "#lut" not in type_:
            made.append(rng.integers(0, 37, shape))
        else:
            bits = int(type_.split("#lut.fixed<")[1].split(",")[0])
            half = 1 << (bits - 1)
            values = rng.integers(-half, half, shape) >> rng.integers(0, bits, shape)
            made.append(rng.choice([0, 1, -1, 2, 3], shape, p=[0.96, *[0.01] * 4]) * (half - 1))
            made[-1] = np.clip(np.where(made[-1] == 0, values, made[-1]), -half, half - 1)
    return made


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_op_equals_the_interpreter(name: str, module: ir.Module, program: CpuProgram) -> None:
    for tokens, position in ((1, 0), (1, 300), (2, 0), (TOKENS, 255), (7, ROWS - 7)):
        given = inputs(name, tokens, position, tokens + position)
        (want,) = interpreter.run(module, given, PARAMETERS, function=name)
        (got,) = program.run(name, [np.array(array) for array in given])
        np.testing.assert_array_equal(got, want)


def test_zeros_and_equal_values(module: ir.Module, program: CpuProgram) -> None:
    for name in ("rms_norm", "rms_norm_groups", "argmax", "swiglu", "attention4_2_12", "attention3_1_64"):
        given = [np.zeros_like(array) for array in inputs(name, 3, 0, 0)]
        (want,) = interpreter.run(module, given, PARAMETERS, function=name)
        (got,) = program.run(name, given)
        np.testing.assert_array_equal(got, want)


def test_the_largest_sums_of_attention(module: ir.Module, program: CpuProgram) -> None:
    """Equal scores, so weights of 1, and the least values there are."""
    for heads, kv_heads, channels in HEADS:
        name = f"attention{heads}_{kv_heads}_{channels}"
        given = inputs(name, 3, ROWS - 3, 0)
        given[0][:], given[2][:] = 0, -128
        (want,) = interpreter.run(module, given, PARAMETERS, function=name)
        (got,) = program.run(name, given)
        np.testing.assert_array_equal(got, want)


def test_the_cache_changes_in_place(program: CpuProgram) -> None:
    cache, new = np.zeros((ROWS, 24), np.int8), np.full((2, 24), 7, np.int8)
    (result,) = program.run("append", [cache, new, np.array([5])])
    assert result is cache
    assert cache.any(axis=1).nonzero()[0].tolist() == [5, 6]


@pytest.mark.parametrize(
    ("name", "tokens", "position", "message"),
    [
        ("append", 2, ROWS - 1, r"cache full: expected positions in 0\.\.599 \(rows of the KV cache\), got 599\.\.600"),
        ("append", 2, -1, r"cache full: expected positions in 0\.\.599 \(rows of the KV cache\), got -1\.\.0"),
        ("rope", 3, ROWS - 2, r"expected positions in 0\.\.599 \(positions of the RoPE tables\), got 598\.\.600"),
        ("attention4_2_12", 1, ROWS, r"cache full: expected positions in 0\.\.599"),
    ],
)
def test_positions_are_checked(program: CpuProgram, name: str, tokens: int, position: int, message: str) -> None:
    with pytest.raises(NumericsError, match=message):
        program.run(name, inputs(name, tokens, position, 0))


def test_inputs_are_checked(program: CpuProgram) -> None:
    with pytest.raises(NumericsError, match=r"expected token ids in 0\.\.36, got -1\.\.3; use the tokenizer"):
        program.run("embedding", [np.array([3, -1])])
    with pytest.raises(IRError, match=r"input 0: expected \[None, 48\], got \[2, 46\]"):
        program.run("argmax", [np.zeros((2, 46), np.int32)])
    with pytest.raises(IRError, match=r"expected 1 inputs, got 2"):
        program.run("argmax", [np.zeros((2, 48), np.int32)] * 2)
    with pytest.raises(NumericsError, match=r"input 0 \[0, 0\] must fit 24 signed bits, got 8388608"):
        program.run("argmax", [np.full((2, 48), 1 << 23)])
    with pytest.raises(IRError, match="expected a function of the module, got @nothing"):
        program.run("nothing", [])


def test_a_missing_array_is_named(module: ir.Module) -> None:
    rest = {name: array for name, array in PARAMETERS.items() if name != "n.gain"}
    with pytest.raises(IRError, match=r"expected 'n\.gain' in the store, got none"):
        CpuProgram.of(module, rest, level="portable")
    with pytest.raises(IRError, match=r"expected 'n\.gain' of 192 packed bytes, got 96"):
        CpuProgram.of(module, {**rest, "n.gain": PARAMETERS["n.gain"][:24]}, level="portable")


def test_an_unknown_op_is_located() -> None:
    types = [_tensor("?x48xi32", 24, -16)]
    with pytest.raises(IRError, match=r"test\.py:1:2: error: 'lut\.dequantize' op expected to be one of lut\.linear, "):
        lower(make({"f": (types, dialect.dequantize)}))


def test_a_cache_that_is_read_twice_is_refused() -> None:
    types, _ = FUNCTIONS["append"]

    def twice(cache: ir.Value, new: ir.Value, position: ir.Value) -> ir.Value:
        build.append(cache, new, position)
        return build.append(cache, new, position)

    with pytest.raises(IRError, match=r"'lut\.append' op expected cache to be an argument that nothing else reads"):
        lower(make({"f": (types, twice)}))


def test_results_need_memory_of_their_own() -> None:
    with pytest.raises(IRError, match="expected each result to be the value of an op of its own"):
        lower(make({"f": ([_tensor("?x48xi32", 24, -16)], lambda x: x)}))


def test_layers_of_one_shape_share_code() -> None:
    types, body = FUNCTIONS["rms_norm"]
    one, two = lower(make({"f": (types, body)})), lower(make({"f": (types, body), "g": (types, body)}))
    assert two.plan.kernels == one.plan.kernels
    assert two.plan.parameter_bytes == one.plan.parameter_bytes


def test_memory_is_used_again() -> None:
    def chain(x: ir.Value) -> ir.Value:
        for _ in range(20):
            x = build.add(x, x, exponent=-16)
        return x

    arena = lower(make({"f": ([_tensor("?x48xi32", 26, -16)], chain)}), tokens=4).plan.arena_bytes
    assert arena == 2 * 4 * 48 * 4


def test_levels_are_checked() -> None:
    with pytest.raises(IRError, match="expected a feature level among portable, avx2, avx512, got 'mmx'"):
        lower(make({}), level="mmx")
