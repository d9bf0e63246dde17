"""lut.linear as machine code against the interpreter: schemes and odd sizes, each feature level, 1 to 3 threads."""

from dataclasses import replace

import numpy as np
import pytest

from lutllm import dialect, interpreter
from lutllm.bindings import func, ir
from lutllm.cpu.features import available_levels
from lutllm.cpu.program import CpuProgram
from lutllm.errors import IRError, NumericsError
from lutllm.lowering.cpu.layout import LEVELS, LinearShape
from lutllm.lowering.cpu.lut_to_cpu import lower
from lutllm.lowering.quantize.functions import declare_parameters
from lutllm.lowering.quantize.rules import linear_op
from lutllm.quantization import constants_of
from lutllm.quantizer.random.linear import random_linear
from lutllm.scheme import ADDITIVE, EXACT, PAPER, QuantizedLinear, Scheme

TOKENS = 11
CASES: dict[str, tuple[Scheme, int, int]] = {
    "exact R2": (EXACT, 64, 128),
    "exact R1, odd pairs and outputs": (EXACT.with_(R=1, G=70), 62, 201),
    "exact R3": (EXACT.with_(R=3, G=64, c_w=11), 30, 199),
    "exact R8, small blocks": (EXACT.with_(R=8, G=3), 12, 10),
    "exact, large left shifts": (EXACT.with_(table_bits=6, term_bits=29), 24, 70),
    "exact, wide rows": (EXACT.with_(table_bits=20), 34, 77),
    "exact, wide terms": (EXACT.with_(R=1, table_bits=8, term_bits=31, out_bits=32), 6, 65),
    "exact, few bits": (EXACT.with_(x_bits=6, act_bits=6, weight_bits=3, table_bits=8, out_bits=8), 20, 64),
    "paper": (PAPER, 20, 70),
    "paper L2": (PAPER.with_(metric="l2"), 20, 70),
    "additive": (ADDITIVE, 20, 130),
    "additive L2, odd centroids": (PAPER.with_(metric="l2", S=3, R=2, c_a=21, c_w=5), 20, 70),
    "additive S4, wide rows": (PAPER.with_(S=4, c_a=3, table_bits=16), 20, 70),
    "most centroids": (PAPER.with_(c_a=1024, R=1), 6, 65),
    "one centroid": (PAPER.with_(c_a=1, G=1), 2, 1),
}


def _linear(name: str) -> QuantizedLinear:
    scheme, inputs, outputs = CASES[name]
    linear = random_linear(inputs, outputs, scheme, seed=3, name=name.replace(" ", "_"))
    if name == "exact, large left shifts":
        left = np.random.default_rng(0).integers(10, 18, linear.pairs)
        linear.shifts = np.stack([linear.shifts[:, 0] + 1, left], axis=1).astype(np.int8)
    return linear


LINEARS = {name: _linear(name) for name in CASES}


def make(linears: dict[str, QuantizedLinear]) -> ir.Module:
    """Of each linear a function for any number of tokens and, under its name and `one`, for one."""
    with dialect.context(), ir.Location.file("test.py", 3, 4):
        module = ir.Module.create()
        with ir.InsertionPoint(module.body):
            for name, constants in constants_of(linears).items():
                for tokens, suffix in (("?", ""), ("1", " one")):
                    meaning = f'#lut.fixed<{constants.scheme.x_bits}, @"{constants.exponents}">'
                    x = ir.Type.parse(f"tensor<{tokens}x{2 * constants.pairs}xi16, {meaning}>")
                    function = func.FuncOp(name + suffix, ([x], []))
                    with ir.InsertionPoint(function.add_entry_block()):
                        scheme = dialect.declare_scheme(module, constants.scheme)
                        y = linear_op(function.arguments[0], linears[name].name, constants, scheme)
                        func.ReturnOp([y])
                    function.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get([x], [y.type]))
        declare_parameters(module)
        assert dialect.verify(module)
        return module


def store_of(linears: dict[str, QuantizedLinear]) -> dict[str, np.ndarray]:
    return {name: array for linear in linears.values() for name, array in linear.tensors().items()}


@pytest.fixture(scope="module", params=[(level, threads) for level in available_levels() for threads in (1, 3)])
def program(request: pytest.FixtureRequest) -> CpuProgram:
    level, threads = request.param
    return CpuProgram.of(make(LINEARS), store_of(LINEARS), tokens=TOKENS, threads=threads, level=level)


@pytest.mark.parametrize("name", CASES)
def test_a_linear_equals_the_interpreter(program: CpuProgram, name: str) -> None:
    linear = LINEARS[name]
    half = 1 << (linear.scheme.x_bits - 1)
    rng = np.random.default_rng(1)
    x = rng.integers(-half, half, (TOKENS, 2 * linear.pairs))
    x[0], x[1], x[2] = -half, half - 1, 0
    want = interpreter.linear(linear, x)
    for tokens in (TOKENS, 8, 7, 2):
        np.testing.assert_array_equal(program.run(name, [x[:tokens]])[0], want[:tokens])
    for token in range(4):
        np.testing.assert_array_equal(program.run(f"{name} one", [x[token : token + 1]])[0], want[token : token + 1])


def test_every_way_to_keep_rows_is_tested() -> None:
    shapes = [LinearShape(s, k // 2, n, level) for s, k, n in CASES.values() for level in LEVELS]
    assert {(s.level, s.wide) for s in shapes} == {(level, True) for level in LEVELS} | {
        ("avx2", False),
        ("avx512", False),
    }
    assert any(linear.shifts[:, 1].max() > 14 for linear in LINEARS.values())


def test_linears_of_one_input_are_searched_once() -> None:
    linear = LINEARS["paper"]
    with dialect.context():
        module = make({"paper": linear})
        text = str(module).replace("return %0", "return %1", 1)
        line = next(line for line in text.splitlines() if "lut.linear" in line)
        twice = ir.Module.parse(text.replace(line, line + "\n" + line.replace("%0 =", "%1 ="), 1))
        calls = lower(twice).calls["paper"]
    for few, kernels in ((False, ["many"]), (True, ["rows", "lookup"])):
        found = [call.kernel.partition("_")[0] for call in calls if call.few in (None, few)]
        assert found == ["search", *kernels, *kernels]


def test_an_overflow_is_refused_before_it_happens() -> None:
    linear = LINEARS["exact R2"]
    wrong = {"exact R2": replace(linear, shifts=linear.shifts + np.array([[0, 12]], np.int8))}
    with pytest.raises(NumericsError, match="must fit 24 signed bits"):
        CpuProgram.of(make(wrong), store_of(wrong), level="portable")
    sums = replace(linear, bias=np.full_like(linear.bias, (1 << 31) - 1))
    with pytest.raises(NumericsError, match="expected every sum to fit 32 signed bits"):
        CpuProgram.of(make({"a": sums}), sums.tensors(), level="portable")


def test_a_missing_array_is_named() -> None:
    linears = {"exact R2": LINEARS["exact R2"]}
    store = store_of(linears)
    del store["exact_R2.codes"]
    with pytest.raises(IRError, match=r"expected 'exact_R2\.codes' in the store, got none; write it"):
        CpuProgram.of(make(linears), store, level="portable")


def test_several_dimensions_of_tokens_are_refused() -> None:
    with dialect.context():
        text = str(make({"paper": LINEARS["paper"]})).replace("tensor<?x", "tensor<2x?x")
        with pytest.raises(IRError, match="expected tensors of rank 1 or 2, got tensor<2x"):
            lower(ir.Module.parse(text))
