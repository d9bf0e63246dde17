"""The exported IRDL is accepted by MLIR's own tools, which then take valid modules and refuse invalid ones."""

import shutil
import subprocess
from pathlib import Path

import pytest

from lutllm import dialect
from lutllm.bindings import ir, torch_mlir_opt

TOOLS = {"torch-mlir-opt": torch_mlir_opt(), "mlir-opt-22": shutil.which("mlir-opt-22")}


@pytest.fixture(params=TOOLS)
def tool(request: pytest.FixtureRequest) -> str:
    path = TOOLS[request.param]
    if path is None:
        pytest.skip(f"{request.param} is not installed (apt-get install --no-install-recommends mlir-22-tools)")
    return str(path)


def _run(tool: str, directory: Path, text: str) -> subprocess.CompletedProcess:
    irdl, module = directory / "lut.irdl.mlir", directory / "module.mlir"
    irdl.write_text(dialect.irdl_text())
    module.write_text(text)
    return subprocess.run([tool, f"--irdl-file={irdl}", str(module)], capture_output=True, text=True)


def test_torch_mlir_opt_comes_with_the_wheel() -> None:
    assert TOOLS["torch-mlir-opt"] is not None


def test_takes_a_whole_module(tool: str, tmp_path: Path, layers: ir.Module) -> None:
    done = _run(tool, tmp_path, str(layers))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"lut.') == str(layers).count('"lut.')


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("weights = @q", "weights = 3", "expected base attribute 'builtin.symbol_ref' but got 'builtin.integer'"),
        ("shift = 20 : i64, ", "", 'attribute "shift" is expected but not provided'),
        ('"lut.dequantize"(%', '"lut.dequantise"(%', "unregistered operation 'lut.dequantise'"),
        ("#lut.fixed<24 : i64, -6 : i64>", "#lut.fixed<24 : i64>", "expected 2 type arguments, but had 1"),
    ],
)
def test_refuses_what_is_wrong(tool: str, tmp_path: Path, layers: ir.Module, old: str, new: str, message: str) -> None:
    text = str(layers)
    assert old in text
    done = _run(tool, tmp_path, text.replace(old, new))
    assert done.returncode != 0
    assert message in done.stderr


def test_text_is_the_same_every_time_and_names_every_op() -> None:
    text = dialect.irdl_text()
    dialect.context()
    assert dialect.irdl_text() == text
    for op in dialect.Lut.operations:
        assert f"irdl.operation @{op._op_name} " in text
