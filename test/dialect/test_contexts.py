"""Loading: once a context, in any number of contexts, quickly, single-threaded and without torch."""

import subprocess
import sys

import pytest

from lutllm import dialect
from lutllm.bindings import Diagnostic, capture_diagnostics, ir, load_torch_dialects, source_position

TEXT = """
func.func @f(%t: tensor<?x4x6xi32>) -> tensor<?x6xi32> {
  %0 = "lut.prefix_sum"(%t) : (tensor<?x4x6xi32>) -> tensor<?x6xi32>
  return %0 : tensor<?x6xi32>
}"""


def _first_op(module: ir.Module) -> ir.OpView:
    return module.body.operations[0].regions[0].blocks[0].operations[0]


def test_many_contexts_keep_their_classes() -> None:
    contexts = [dialect.context() for _ in range(4)]
    modules = [ir.Module.parse(TEXT, ctx) for ctx in contexts]
    for module in modules:
        assert isinstance(_first_op(module), dialect.PrefixSumOp)
        assert dialect.verify(module)


def test_register_dialects_in_a_foreign_context_and_twice() -> None:
    ctx = ir.Context()
    assert not ctx.is_dialect_loaded("lut")
    dialect.register_dialects(ctx)
    dialect.register_dialects(ctx)
    assert ctx.is_dialect_loaded("lut")
    assert dialect.verify(ir.Module.parse(TEXT, ctx))


def test_register_dialects_inside_another_context() -> None:
    other = ir.Context()
    with ir.Context(), ir.Location.unknown():
        dialect.register_dialects(other)
        assert other.is_dialect_loaded("lut")
        assert not ir.Context.current.is_dialect_loaded("lut")


def test_lut_and_torch_dialects_share_a_context() -> None:
    ctx = dialect.context()
    load_torch_dialects(ctx)
    assert all(ctx.is_dialect_loaded(name) for name in ("lut", "torch", "torch_c", "tm_tensor"))
    assert dialect.verify(ir.Module.parse(TEXT, ctx))


def test_multithreading_is_off() -> None:
    # With it on, a Python verifier deadlocks against the parser's threads.
    assert dialect.context().get_num_threads() == 1
    assert ir.Context().get_num_threads() == 1


def _run(program: str) -> str:
    """What a program prints in a process of its own: what went wrong here was a crash, or a wait without an end."""
    command = [sys.executable, "-X", "faulthandler", "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_threads_make_contexts_at_once() -> None:
    program = f"""
from concurrent.futures import ThreadPoolExecutor
from lutllm import dialect
from lutllm.bindings import ir
def make(_):
    module = ir.Module.parse({TEXT!r}, dialect.context())
    return module.operation.verify() and type(module.body.operations[0].regions[0].blocks[0].operations[0]).__name__
with ThreadPoolExecutor(4) as pool:
    print(*set(pool.map(make, range(64))))
"""
    assert _run(program) == "PrefixSumOp"


def test_registering_switches_multithreading_off() -> None:
    program = f"""
from lutllm import dialect
from lutllm.bindings import ir
ctx = ir.Context()
ctx.enable_multithreading(True)
dialect.register_dialects(ctx)
print(ir.Module.parse({(TEXT + TEXT.replace("@f", "@g"))!r}, ctx).operation.verify(), ctx.get_num_threads())
"""
    assert _run(program) == "True 1"


def test_start_up_is_without_torch() -> None:
    program = "import sys; from lutllm import dialect; dialect.context(); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_errors_are_diagnostics_with_a_location(ctx: ir.Context) -> None:
    with capture_diagnostics(ctx) as seen, pytest.raises(ir.MLIRError):
        ir.Module.parse(TEXT.replace("x4x6", "x4x7"), ctx)
    message = "'lut.prefix_sum' op expected N of sum = 7, got 6; change the type"
    assert seen[0] == Diagnostic("error", message, "-", 3, 8)
    assert str(seen[0]) == f"-:3:8: error: {message}"


def test_captured_diagnostics_are_not_left_attached(ctx: ir.Context) -> None:
    with ctx, capture_diagnostics(ctx) as first:
        ir.Location.unknown().emit_error("one")
    with ctx, capture_diagnostics(ctx) as second:
        ir.Location.file("model.py", 3, 4).emit_error("two")
    assert [str(d) for d in first] == ["error: one"]
    assert [str(d) for d in second] == ["model.py:3:4: error: two"]


def test_source_position_looks_through_names_fusions_and_calls(ctx: ir.Context) -> None:
    with ctx:
        here, there = ir.Location.file("a.py", 1, 2), ir.Location.file("b.py", 3, 4)
        assert source_position(ir.Location.name("q_proj", here)) == "a.py:1:2"
        assert source_position(ir.Location.fused([ir.Location.name("q_proj"), there])) == "b.py:3:4"
        assert source_position(ir.Location.callsite(here, [there])) == "a.py:1:2"
        assert source_position(ir.Location.unknown()) is None
