"""The Python that the documentation shows runs as it stands."""

from __future__ import annotations

import ast
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lutllm

pytest.importorskip("transformers")
pytest.importorskip("pandas")
ROOT = Path(__file__).parents[2]


def test_the_python_of_usage_runs(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "usage.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text.split("## In Python")[1].split("\n## ")[0], re.DOTALL)
    for name in ("LICENSE", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    done = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("tiny-llama: 15 linears become table lookups")
    assert any(re.fullmatch(r"True \[\d+, \d+\]", line) for line in lines)
    assert 0 < float(lines[-1]) < 10


def test_what_the_pages_call_is_there() -> None:
    """Functions of `lutllm`, with the arguments that the pages give them."""
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    blocks = [block for page in pages for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)]
    calls = [node for block in blocks for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Call)]
    seen = set()
    for call in calls:
        if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "lutllm":
            keywords = {keyword.arg or "": None for keyword in call.keywords}
            inspect.signature(getattr(lutllm, call.func.attr)).bind(*call.args, **keywords)
            seen.add(call.func.attr)
    assert {"load", "generate", "compile"} <= seen
