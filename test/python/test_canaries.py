"""What lutllm relies on in its pinned wheels, one small test each: when a pin moves, these say what changed.

torch-mlir is a dated snapshot of MLIR, pycde and circt carry CIRCT; none promises a stable Python API.
"""

import ctypes
import importlib.metadata
import importlib.util
import inspect
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from lutllm import bindings, doctor
from lutllm.bindings import capture_diagnostics, execution_engine, ext, ir, passmanager, torch_mlir_opt
from lutllm.lowering.export.hw_to_arc import TO_ALLOCATED_STATE, TO_LLVM, TO_ONE_MODULE
from lutllm.lowering.hardware.lib import circt_bindings

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
TORCH = importlib.util.find_spec("torch") is not None


class Canary(ext.Dialect, name="canary"):
    """A dialect with each feature of ext that `lut` uses."""


class UnitAttr(Canary.Attribute, name="unit"):
    bits: ir.IntegerAttr
    exponent: ir.IntegerAttr | ir.FlatSymbolRefAttr


class PureOp(Canary.Operation, name="pure", traits=[ext.Pure]):
    x: ext.Operand[ir.RankedTensorType]
    y: ext.Result[ir.RankedTensorType]

    def verify_invariants(self) -> bool:
        if "wrong" in self.attributes:
            self.location.emit_error("wrong")
            return False
        return True


TEXT = """
func.func @f(%x: tensor<2xi16, #canary.unit<16 : i64, @e>>) -> tensor<2xi16> {
  %0 = "canary.pure"(%x) : (tensor<2xi16, #canary.unit<16 : i64, @e>>) -> tensor<2xi16>
  %1 = "canary.pure"(%x) : (tensor<2xi16, #canary.unit<16 : i64, @e>>) -> tensor<2xi16>
  return %1 : tensor<2xi16>
}"""


@pytest.fixture
def ctx() -> ir.Context:
    context = ir.Context()
    with context, ir.Location.unknown():
        Canary.load()
    return context


def pinned() -> list[tuple[str, str]]:
    """Every exact pin of pyproject.toml that holds for this Python."""
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    every = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    found = [r for r in map(Requirement, every) if not r.marker or r.marker.evaluate()]
    return [(r.name, s.version) for r in found for s in r.specifier if s.operator == "=="]


@pytest.mark.parametrize(("name", "version"), pinned())
def test_pins_are_installed(name: str, version: str) -> None:
    try:
        installed = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed; pip install -e '.[models,test]'")
    assert installed.partition("+")[0] == version


def test_the_bindings_are_pinned_exactly() -> None:
    assert {"torch-mlir", doctor.CIRCT, "torch"} <= {name for name, _ in pinned()}


def test_every_python_has_one_circt() -> None:
    """Two of them in one process crash, and lutllm takes pycde's where it finds both."""
    dependencies = map(Requirement, tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"])
    carriers = [r for r in dependencies if r.name in ("pycde", "circt")]
    for version, name in (("3.11", "pycde"), ("3.12", "pycde"), ("3.13", "circt")):
        assert [r.name for r in carriers if r.marker and r.marker.evaluate({"python_version": version})] == [name]
    assert circt_bindings.circt.__name__ == {"pycde": "pycde.circt", "circt": "circt"}[doctor.CIRCT]


def test_ext_attribute_as_tensor_encoding(ctx: ir.Context) -> None:
    with ctx, ir.Location.unknown():
        module = ir.Module.parse(TEXT)
        encoding = module.body.operations[0].type.inputs[0].encoding
        assert isinstance(encoding, UnitAttr)
        assert [str(p) for p in encoding.params] == ["16 : i64", "@e"]
        assert str(ir.Module.parse(str(module))) == str(module)


def test_ext_verifier_and_diagnostic_handler(ctx: ir.Context) -> None:
    with ctx, ir.Location.unknown(), capture_diagnostics(ctx) as seen, pytest.raises(ir.MLIRError):
        ir.Module.parse(TEXT.replace('"canary.pure"(%x) :', '"canary.pure"(%x) {wrong} :', 1))
    assert [(d.severity, d.message, d.line, d.column) for d in seen][:1] == [("error", "wrong", 3, 8)]


def test_upstream_passes_know_that_ext_ops_are_pure(ctx: ir.Context) -> None:
    with ctx, ir.Location.unknown():
        module = ir.Module.parse(TEXT)
        passmanager.PassManager.parse("builtin.module(func.func(cse),canonicalize)").run(module.operation)
    assert str(module).count("canary.pure") == 1
    assert ext.Pure in PureOp._traits


def test_ext_dialect_in_two_contexts() -> None:
    for context in (ir.Context(), ir.Context()):
        with context, ir.Location.unknown():
            Canary.load()
            assert isinstance(ir.Module.parse(TEXT).body.operations[0].type.inputs[0].encoding, UnitAttr)


def test_irdl_text_of_an_ext_dialect() -> None:
    with ir.Context(), ir.Location.unknown():
        text = str(Canary._emit_module())
    assert "irdl.dialect @canary" in text and "irdl.operation @pure" in text


def test_ops_have_settable_locations_and_deletable_attributes(ctx: ir.Context) -> None:
    with ctx, ir.Location.unknown():
        op = ir.Module.parse("func.func private @f() attributes {a.b}").body.operations[0].operation
        op.location = ir.Location.name("q_proj", ir.Location.file("model.py", 3, 4))
        del op.attributes["a.b"]
        assert str(op.location) == 'loc("q_proj"("model.py":3:4))' and "a.b" not in op.attributes


def test_pipelines_print_what_parses() -> None:
    with ir.Context():
        text = str(passmanager.PassManager.parse("builtin.module(canonicalize{max-iterations=3},func.func(cse))"))
        assert "max-iterations=3" in text
        assert str(passmanager.PassManager.parse(text)) == text


def test_a_callable_is_a_pass() -> None:
    seen = []
    with ir.Context(), ir.Location.unknown():
        manager = passmanager.PassManager("builtin.module")
        manager.add(lambda op, pass_: seen.append(op.name), name="canary", argument="canary")
        manager.run(ir.Module.create().operation)
    assert seen == ["builtin.module"]


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("builtin.module(none)", "does not refer to a registered pass"),
        ("builtin.module(cse{none=1})", "no such option none"),
        ("builtin.module(func.func(torch-fuse-quantized-ops))", None),
        ("builtin.module(torch-fuse-quantized-ops)", "restricted to 'func.func' on a PassManager intended to run on"),
    ],
)
def test_what_a_wrong_pipeline_says(pipeline: str, message: str | None) -> None:
    assert bindings.torch_dialect  # registers the passes of torch-mlir
    with ir.Context():
        if message is None:
            passmanager.PassManager.parse(pipeline)
            return
        with pytest.raises(ValueError, match=re.escape(message)):
            passmanager.PassManager.parse(pipeline)


def test_the_error_that_lists_the_dialects(ctx: ir.Context) -> None:
    with ctx, ir.Location.unknown(), capture_diagnostics(ctx) as seen, pytest.raises(ir.MLIRError):
        ir.Module.parse("no_such_dialect.op")
    assert any(d.severity == "note" and d.message.startswith("Available dialects: ") for d in seen)


def test_torch_mlir_opt_is_in_the_wheel() -> None:
    assert torch_mlir_opt() is not None


@pytest.mark.skipif(not TORCH, reason="torch is not installed; pip install -e '.[models]'")
def test_fx_importer_hooks() -> None:
    hooks = bindings.fx_importer.FxImporterHooks
    assert list(inspect.signature(hooks.resolve_input).parameters) == ["self", "gni", "value", "info"]
    assert list(inspect.signature(hooks.resolve_literal).parameters) == ["self", "gni", "literal", "info"]
    assert {"context", "hooks"} <= set(inspect.signature(bindings.fx_importer.FxImporter.__init__).parameters)
    assert callable(bindings.fx_importer.create_mlir_tensor_type)
    assert callable(bindings.fx_decomp_util.get_decomposition_table)


@pytest.mark.parametrize("passes", [p for p, _ in (*TO_ONE_MODULE, *TO_ALLOCATED_STATE, *TO_LLVM)])
def test_the_passes_of_arc_exist(passes: str) -> None:
    with circt_bindings.context():
        circt_bindings.PassManager.parse(f"builtin.module({passes})")


def test_circt_exports() -> None:
    for name in ("export_split_verilog", "export_verilog", "export_llvm_ir", "register_dialects"):
        assert callable(getattr(circt_bindings.circt, name))


def test_the_engine_calls_a_function_with_an_array_of_addresses() -> None:
    """lutllm.cpu: `raw_lookup(NAME)` is f(void **), each element the address of an argument."""
    text = """
    func.func @double(%from: !llvm.ptr, %to: !llvm.ptr, %n: i64) {
      %x = llvm.load %from : !llvm.ptr -> i64
      %y = arith.muli %x, %n : i64
      llvm.store %y, %to : i64, !llvm.ptr
      return
    }"""
    passes = "convert-arith-to-llvm,convert-func-to-llvm,reconcile-unrealized-casts"
    with ir.Context():
        module = ir.Module.parse(text)
        passmanager.PassManager.parse(f"builtin.module({passes})").run(module.operation)
        engine = execution_engine.ExecutionEngine(module, opt_level=3)
    values = (ctypes.c_int64 * 2)(21, 0)
    base = ctypes.addressof(values)
    given = (ctypes.c_int64 * 3)(base, base + 8, 2)
    slots = (ctypes.c_void_p * 3)(*(ctypes.addressof(given) + 8 * i for i in range(3)))
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(engine.raw_lookup("double"))(ctypes.cast(slots, ctypes.c_void_p))
    assert list(values) == [21, 42]
    assert not engine.raw_lookup("nothing")
