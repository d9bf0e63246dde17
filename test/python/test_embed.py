"""lutllm's pipelines in pass managers of torch_mlir and of CIRCT's separate build, with and without threads."""

import subprocess
import sys

import pytest

from lutllm import dialect, embed
from lutllm.bindings import ir, passmanager
from lutllm.errors import InputError
from lutllm.passes import run_pipeline

LINEAR = """
"lut.scheme"() {sym_name = "exact", kind = "exact", v = 2, c_a = 0, S = 0, c_w = 16, G = 4, R = 2, metric = "chebyshev",
  x_bits = 16, act_bits = 16, weight_bits = 8, table_bits = 16, term_bits = 24, out_bits = 24} : () -> ()
ml_program.global private @e(#ml_program.extern : tensor<4xi8>) : tensor<4xi8>
ml_program.global private @q.codes(#ml_program.extern : tensor<4x2x6xi8>) : tensor<4x2x6xi8>
ml_program.global private @q.weight_codebook(#ml_program.extern : tensor<4x2x2x16x2xi8>) : tensor<4x2x2x16x2xi8>
ml_program.global private @q.shifts(#ml_program.extern : tensor<4x2xi8>) : tensor<4x2xi8>
ml_program.global private @q.multiplier(#ml_program.extern : tensor<6xi32>) : tensor<6xi32>
ml_program.global private @q.bias(#ml_program.extern : tensor<6xi32>) : tensor<6xi32>
func.func @main(%x: tensor<?x8xi16, #lut.fixed<16, @e>>) -> tensor<?x6xi32, #lut.fixed<24, -6>> {
  %0 = "lut.linear"(%x) {scheme = @exact, weights = @q, shift = 20}
    : (tensor<?x8xi16, #lut.fixed<16, @e>>) -> tensor<?x6xi32, #lut.fixed<24, -6>> loc("model.py":3:4)
  return %0 : tensor<?x6xi32, #lut.fixed<24, -6>>
}
"""
PIPELINE = "builtin.module(lut-decompose,cse,lut-symbol-dce)"
HW = """
hw.module @top(in %a : i8, out b : i8) {
  hw.output %a : i8
}
"""


def generic(module: ir.Module) -> str:
    """A form that any build of MLIR reads without knowing the dialect."""
    return module.operation.get_asm(print_generic_op_form=True, enable_debug_info=True)


def parsed(text: str) -> ir.Module:
    return ir.Module.parse(text, dialect.context())


@pytest.fixture(scope="module")
def wanted() -> str:
    module = parsed(LINEAR)
    run_pipeline(module, PIPELINE)
    return generic(module)


# A host: how it makes a context, and of which threads. Run as a process of its own, for what may go wrong is a wait
# without an end.
HOST = """
import sys
from concurrent.futures import ThreadPoolExecutor
from lutllm import dialect, embed
kind, threads, text, pipeline = sys.argv[1:]
if kind == "circt":
    from lutllm.lowering.hardware.lib.circt_bindings import PassManager, ir, context
else:
    from lutllm.bindings import ir, passmanager
    PassManager, context = passmanager.PassManager, ir.Context
def compile(_):
    ctx = context()
    ctx.allow_unregistered_dialects = kind != "registered"
    ctx.enable_multithreading(threads == "on")
    if kind == "registered":
        dialect.register_dialects(ctx)
    with ctx, ir.Location.unknown():
        module = ir.Module.parse(text)
        manager = PassManager.parse("builtin.module(canonicalize)")
        embed.add(manager, pipeline)
        manager.run(module.operation)
        return module.operation.get_asm(print_generic_op_form=True, enable_debug_info=True)
first, second = compile(0), compile(1)
with ThreadPoolExecutor(2) as pool:
    at_once = list(pool.map(compile, range(4)))
assert {first, second, *at_once} == {first}
print(first)
"""


def in_host(kind: str, threads: str, text: str, pipeline: str = PIPELINE) -> str:
    command = [sys.executable, "-X", "faulthandler", "-c", HOST, kind, threads, text, pipeline]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("threads", ["on", "off"])
@pytest.mark.parametrize("kind", ["registered", "torch_mlir", "circt"])
def test_contexts_and_threads(kind: str, threads: str, wanted: str) -> None:
    """Several contexts, one after the other and at once; registering the dialect switches its context's threads off."""
    found = parsed(in_host(kind, threads, generic(parsed(LINEAR))))
    assert generic(found) == wanted
    assert 'loc("model.py":3:4)' in wanted


def test_ops_of_the_host_stay() -> None:
    head, begin, rest = generic(parsed(LINEAR)).partition("({\n")
    text = in_host("circt", "on", head + begin + HW + rest)
    assert '"hw.module"' in text and "hw.output" in text and "lut.exact_row" in text


DECODER = """
func.func @main(%x: tensor<?x8xi32, #lut.fixed<24, -6>>) -> tensor<1x8xi32, #lut.fixed<24, -6>> {
  %0 = "lut.last_token"(%x)
    : (tensor<?x8xi32, #lut.fixed<24, -6>>) -> tensor<1x8xi32, #lut.fixed<24, -6>> loc("model.py":3:4)
  return %0 : tensor<1x8xi32, #lut.fixed<24, -6>>
}
"""


@pytest.mark.parametrize("kind", ["registered", "torch_mlir", "circt"])
def test_what_goes_wrong_is_said_where_the_host_has_it(kind: str) -> None:
    with pytest.raises(AssertionError, match=r"model.py.:3:4: 'lut.last_token' op expected lut.linear or"):
        in_host(kind, "off", generic(parsed(DECODER)), "builtin.module(lut-to-linalg)")


def test_a_wrong_pipeline_is_refused_at_once() -> None:
    with dialect.context(), pytest.raises(InputError, match="did you mean 'lut-decompose'"):
        embed.add(passmanager.PassManager("builtin.module"), "builtin.module(lut-decompos)")


def test_a_manager_of_functions_is_refused() -> None:
    context = ir.Context()
    dialect.register_dialects(context)
    with context:
        module, manager = ir.Module.parse(LINEAR), passmanager.PassManager("func.func")
        embed.add(manager, PIPELINE)
        with pytest.raises(ir.MLIRError, match=r"expected a pass manager of builtin.module, got one of func.func"):
            manager.run(module.body.operations[-1].operation)


def test_threads_beside_the_dialect_are_refused() -> None:
    with dialect.context() as ctx:
        ctx.enable_multithreading(True)
        with pytest.raises(InputError, match=r"expected a context of one thread, got \d+"):
            embed.add(passmanager.PassManager("builtin.module"), PIPELINE)
