"""lut-to-linalg, compiled by MLIR's own passes, computes the interpreter's integers: an oracle that is not ours."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lutllm import dialect, interpreter, lowering, store
from lutllm.bindings import func, ir
from lutllm.embed import compile_linalg
from lutllm.errors import InputError, IRError
from lutllm.numerics import dequantize, quantize
from lutllm.passes import PASSES, run_pipeline
from lutllm.quantizer import random_linear
from lutllm.scheme import ADDITIVE, EXACT, PAPER, QuantizedLinear

ALL = (*PASSES, *lowering.PASSES)
SCHEMES = {
    "paper": (PAPER.with_(G=16), "built_table"),
    "paper, l2": (PAPER.with_(G=16, R=2, metric="l2", table_bits=6), "stored_table"),
    "additive": (ADDITIVE.with_(G=7), "built_row"),
    "wide indices, three stages": (ADDITIVE.with_(c_a=300, S=3, G=512, metric="l2", term_bits=30), "built_row"),
    "exact": (EXACT.with_(G=16), "exact_row"),
    "exact, narrow": (EXACT.with_(R=1, c_w=4, x_bits=9, act_bits=9, weight_bits=4, out_bits=12), "exact_row"),
}


def module_of(q: QuantizedLinear, source: str, tokens: str) -> ir.Module:
    """floats -> quantize -> linear -> (integers, dequantized)."""
    module = ir.Module.create(ir.Location.unknown(dialect.context()))
    for name, array in q.tensors().items():
        dialect.declare(module, name, array.shape, array.dtype)
    scheme = dialect.declare_scheme(module, q.scheme)

    def body(x: ir.Value) -> list[ir.Value]:
        x = dialect.quantize(x, exponents=f"{q.input_name}.exponents", bits=q.scheme.x_bits)
        book = None if q.codebook is None else f"{q.input_name}.codebook"
        y = dialect.linear(
            x, scheme=scheme, weights=q.name, shift=q.shift, out_exponent=q.out_exponent, codebook=book,
            tables=q.tables is not None, row_source=source,
        )  # fmt: skip
        return [y, dialect.dequantize(y)]

    with module.context, ir.Location.unknown(), ir.InsertionPoint(module.body):
        func.FuncOp.from_py_func(ir.Type.parse(f"tensor<{tokens}x{2 * q.pairs}xf32>"), name="main")(body)
    assert dialect.verify(module)
    return module


def compiled(module: ir.Module, parameters: dict[str, np.ndarray], directory: Path, first: str = ""):
    path = directory / "parameters.safetensors"
    store.save(path, parameters)
    passes = f"builtin.module({first}lut-to-linalg,lut-bind-parameters{{store={path}}},canonicalize,cse,symbol-dce)"
    run_pipeline(module, passes, passes=ALL)
    assert "lut." not in str(module)
    return compile_linalg(module)


def wild(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Floats of every size, most of which neither vanish nor saturate."""
    return (rng.standard_normal(shape) * 2.0 ** rng.integers(-12, 8, shape)).astype(np.float32)


@pytest.mark.parametrize(("scheme", "source"), SCHEMES.values(), ids=SCHEMES)
def test_a_linear_equals_the_interpreter(scheme, source, tmp_path: Path) -> None:
    q = random_linear(24, 40, scheme, 3, tables=True)
    rng = np.random.default_rng(0)
    for shape, tokens in (((5, 24), "?"), ((2, 3, 24), "2x?"), ((1, 1, 4, 24), "1x1x4")):
        x = wild(rng, shape)
        module = module_of(q, source, tokens)
        wanted = interpreter.run(module, [x], q.tensors())
        integers, floats = compiled(module, q.tensors(), tmp_path)(x)
        assert np.array_equal(integers, wanted[0])
        assert np.array_equal(floats, wanted[1])
        assert len(np.unique(integers)) > 10


def test_row_sources_agree(tmp_path: Path) -> None:
    q = random_linear(16, 24, PAPER.with_(G=8), 7, tables=True)
    x = wild(np.random.default_rng(1), (3, 16))
    found = []
    for source in q.scheme.row_sources:
        first = f"lut-decompose{{row-source={source}}},"
        found.append(compiled(module_of(q, source, "?"), q.tensors(), tmp_path, first)(x)[0])
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])


def parsed(scheme, text: str) -> ir.Module:
    """Text with `scheme` as @s."""
    fields = {"sym_name": "s", **scheme.to_dict()}
    words = ", ".join(f"{name} = {json.dumps(value)}" for name, value in fields.items())
    return ir.Module.parse(f'"lut.scheme"() {{{words}}} : () -> ()\n{text}', dialect.context())


def test_ties_go_to_the_lower_index(tmp_path: Path) -> None:
    q = random_linear(4, 8, PAPER.with_(c_a=16, G=8), 2)
    q.codebook[:, :, 3] = -q.codebook[:, :, 2]  # two as far from nought
    q.codebook[:, :, 8:] = q.codebook[:, :, :8]  # and each twice
    module = parsed(
        q.scheme,
        """
    ml_program.global private @e(#ml_program.extern : tensor<2xi8>) : tensor<2xi8>
    ml_program.global private @c(#ml_program.extern : tensor<2x1x16x2xi16>) : tensor<2x1x16x2xi16>
    func.func @main(%x: tensor<?x4xi16, #lut.fixed<16, @e>>) -> tensor<?x2x1xi8> {
      %0 = "lut.centroid_search"(%x) {scheme = @s, codebook = @c}
        : (tensor<?x4xi16, #lut.fixed<16, @e>>) -> tensor<?x2x1xi8>
      return %0 : tensor<?x2x1xi8>
    }""",
    )
    x = np.concatenate([q.codebook[:, 0].transpose(1, 0, 2).reshape(16, 4), np.zeros((1, 4), np.int16)])
    found = compiled(module, {"c": q.codebook, "e": q.exponents}, tmp_path)(x)[0]
    assert np.array_equal(found, interpreter.integers.centroid_search(x, q.codebook, "chebyshev"))
    assert found.max() < 8


def test_sums_go_on_from_others(tmp_path: Path) -> None:
    """A chain of engines: the second half of the pairs starts at the sum of the first."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 16, (3, 2, 6)).astype(np.uint8)
    rows = [rng.integers(-(2**20), 2**20, (5, 3, 2, 2, 16)).astype(np.int32) for _ in range(2)]
    lookup = (
        """"lut.table_lookup"(%{0}) {{scheme = @s, weights = @q}} : (tensor<?x3x2x2x16xi32>) -> tensor<?x3x6xi32>"""
    )
    module = parsed(
        EXACT.with_(G=4),
        f"""
    ml_program.global private @q.codes(#ml_program.extern : tensor<3x2x6xi8>) : tensor<3x2x6xi8>
    func.func @main(%a: tensor<?x3x2x2x16xi32>, %b: tensor<?x3x2x2x16xi32>) -> (tensor<?x3x6xi32>, tensor<?x6xi32>) {{
      %0 = {lookup.format("a")}
      %1 = "lut.prefix_sum"(%0) : (tensor<?x3x6xi32>) -> tensor<?x6xi32>
      %2 = {lookup.format("b")}
      %3 = "lut.prefix_sum"(%2, %1) : (tensor<?x3x6xi32>, tensor<?x6xi32>) -> tensor<?x6xi32>
      return %0, %3 : tensor<?x3x6xi32>, tensor<?x6xi32>
    }}""",
    )
    wanted = interpreter.run(module, rows, {"q.codes": codes})
    found = compiled(module, {"q.codes": codes}, tmp_path)(*rows)
    assert all(np.array_equal(*pair) for pair in zip(found, wanted, strict=True))


def test_the_quantizer_is_exact_for_every_size_of_float_and_every_exponent(tmp_path: Path) -> None:
    """Around each exponent field, mantissas where rounding turns; infinities saturate."""
    mantissas = (0, 1, 2, 0x155555, 0x3FFFFF, 0x400000, 0x400001, 0x600000, 0x7FFFFE, 0x7FFFFF)
    bits = np.array([e << 23 | m for e in range(256) for m in mantissas if e < 255 or m == 0], np.uint32)
    x = np.repeat(np.concatenate([bits, bits | 0x80000000]).view(np.float32)[:, None], 512, axis=1)
    exponents = np.arange(-128, 128, dtype=np.int8)
    module = ir.Module.parse(
        """
    #x = #lut.fixed<13, @e>
    ml_program.global private @e(#ml_program.extern : tensor<256xi8>) : tensor<256xi8>
    func.func @main(%x: tensor<?x512xf32>) -> tensor<?x512xi16, #x> {
      %0 = "lut.quantize"(%x) : (tensor<?x512xf32>) -> tensor<?x512xi16, #x>
      return %0 : tensor<?x512xi16, #x>
    }""",
        dialect.context(),
    )
    found = compiled(module, {"e": exponents}, tmp_path)(x)[0]
    assert np.array_equal(found, quantize(x, np.repeat(exponents.astype(np.int64), 2), 13))


@pytest.mark.parametrize("exponent", [-96, -9, 0, 96])
def test_the_dequantizer_rounds_once(exponent: int, tmp_path: Path) -> None:
    module = ir.Module.parse(
        f"""
    func.func @main(%y: tensor<?x4xi32, #lut.fixed<32, {exponent}>>) -> tensor<?x4xf32> {{
      %0 = "lut.dequantize"(%y) : (tensor<?x4xi32, #lut.fixed<32, {exponent}>>) -> tensor<?x4xf32>
      return %0 : tensor<?x4xf32>
    }}""",
        dialect.context(),
    )
    y = np.array([[0, 1, -1, 2**31 - 1], [-(2**31), 2**24 + 1, 2**24 + 3, -(2**25) - 2]], np.int32)
    found = compiled(module, {}, tmp_path)(y)[0]
    assert np.array_equal(found, dequantize(y, exponent).astype(np.float32))


ALIASES = """
func.func @main(%x: tensor<4xi32>) -> (tensor<4xi32>, tensor<2xi32>, tensor<4xi32>, tensor<4xi32>, tensor<2xi32>) {
  %c = arith.constant dense<[3, 4]> : tensor<2xi32>
  %e = tensor.empty() : tensor<4xi32>
  %y = linalg.add ins(%x, %x : tensor<4xi32>, tensor<4xi32>) outs(%e : tensor<4xi32>) -> tensor<4xi32>
  %s = tensor.extract_slice %y[2] [2] [1] : tensor<4xi32> to tensor<2xi32>
  return %x, %c, %y, %y, %s : tensor<4xi32>, tensor<2xi32>, tensor<4xi32>, tensor<4xi32>, tensor<2xi32>
}
"""


def test_results_may_be_arguments_constants_and_each_other() -> None:
    """In a process of its own, which memory freed twice would end."""
    program = f"""
import numpy as np
from lutllm import dialect, embed
from lutllm.bindings import ir
call = embed.compile_linalg(ir.Module.parse({ALIASES!r}, dialect.context()))
x = np.arange(4, dtype=np.int32)
for _ in range(100):
    found = [each.tolist() for each in call(x)]
    assert found == [[0, 1, 2, 3], [3, 4], [0, 2, 4, 6], [0, 2, 4, 6], [4, 6]], found
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_what_the_compiler_is_given_must_fit(tmp_path: Path) -> None:
    q = random_linear(8, 4, EXACT, 1)
    call = compiled(module_of(q, "exact_row", "?"), q.tensors(), tmp_path)
    with pytest.raises(InputError, match=re.escape("argument 0: expected float32 [None, 8], got float32 [2, 6]")):
        call(np.zeros((2, 6), np.float32))
    with pytest.raises(InputError, match=re.escape("argument 0: expected float32 [None, 8], got float64 [2, 8]")):
        call(np.zeros((2, 8)))
    with pytest.raises(InputError, match="expected 1 arrays, got 0"):
        call()
    module = module_of(q, "exact_row", "?")
    with pytest.raises(InputError, match="expected a function @other, got none"):
        compile_linalg(module, "other")
    with pytest.raises(IRError, match="op was not bufferized"):
        compile_linalg(module)
