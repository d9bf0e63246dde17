"""A real wheel: it holds every module and nothing else, and its lutllm-opt works without torch."""

import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"python/lutllm": "lutllm", **{n: f"lutllm/{n}" for n in ("dialect", "passes", "lowering", "tools")}}
# What an import of torch finds instead: the compiler core installs without it.
NO_TORCH = "import sys; sys.modules['torch'] = None; from lutllm.tools.lutllm_opt import main; sys.exit(main())"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("scikit_build_core", reason="scikit-build-core is not installed; pip install -e '.[test]'")
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", out, ROOT]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_the_package(wheel: Path) -> None:
    names = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    modules = {
        f"{inside}/{path.relative_to(ROOT / folder)}"
        for folder, inside in FOLDERS.items()
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {n for n in names if n.endswith(".py")} == modules
    assert "lutllm/py.typed" in names
    assert all(n.startswith("lutllm/") for n in names)
    assert not [n for n in names if re.search(r"__pycache__|/test/", n)]


def test_the_wheel_runs_without_torch(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    path = f"{tmp_path}:{sysconfig.get_paths()['purelib']}"
    # -S: without site there is no editable install to find instead.
    command = [sys.executable, "-S", "-c", NO_TORCH, "--lut-decompose", "--cse"]
    result = subprocess.run(
        command, input="module {}", env={"PYTHONPATH": path}, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "module {\n}\n", "")


def test_torch_is_an_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not [d for d in project["dependencies"] if re.match(r"torch\b(?!-mlir)|transformers|gguf|llm-", d)]
    every = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    assert not [d for d in every if d.startswith("llm-")], "the model is downloaded on demand, never installed"
