"""What docs/embedding.md shows runs: its Python in order, in one process, and its commands."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "embedding.md").read_text()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like the repository, to write into."""
    (tmp_path / "build").mkdir()
    (tmp_path / "test").symlink_to(ROOT / "test")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_python(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict = {}
    ran = 0
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        needed = {name.split(".")[0] for name in re.findall(r"^(?:import|from) (\S+)", block, re.MULTILINE)}
        if needed & {"pycde", "xdsl"} and not all(map(importlib.util.find_spec, needed)):
            continue  # CIRCT is called circt on Python 3.13; xDSL has its own environment in test/bench/hosts.py
        exec(compile(block, "docs/embedding.md", "exec"), names)
        ran += 1
    assert ran >= 2
    *_, error = capsys.readouterr().out.strip().split("\n")
    assert 0 < float(error) < 0.05
    assert np.abs(names["features"]).max() > 1
    assert "lut." not in str(names["imported"].module)


def test_commands(here: Path) -> None:
    commands = re.findall(r"^\$ (lutllm-\w+) (.*)$", PAGE, re.MULTILINE)
    assert len(commands) == 4
    for tool, arguments in commands:
        module = f"lutllm.tools.{tool.replace('-', '_')}"
        subprocess.run([sys.executable, "-m", module, *arguments.split()], check=True, timeout=300)
    assert "linalg.generic" in (here / "build" / "linalg.mlir").read_text()
    assert list((here / "build" / "rtl").glob("*.sv"))
