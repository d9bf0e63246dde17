"""Runs torch-mlir's own lit tests with `torch-mlir-opt` and with `lutllm-opt`, and prints the counts side by side.

python test/bench/torch_mlir_tests.py DIR   DIR is the `test` folder of a torch-mlir checkout near the wheel's commit

The `*.mlir` files are run where they lie; the RUN lines' `torch-mlir-opt` is replaced. FileCheck is LLVM's where there
is one (`FileCheck`, `FileCheck-14` and so on), otherwise the `filecheck` package's, which passes fewer of them.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SCRIPTS = Path(sys.executable).parent
TOOLS = ("torch-mlir-opt", "lutllm-opt")
CONFIG = """
import lit.formats
config.name = "torch-mlir with {tool}"
config.test_format = lit.formats.ShTest(False)
config.suffixes = [".mlir"]
config.excludes = ["Inputs", "CAPI", "python"]  # these need binaries or are no tests of the driver
config.test_source_root = {tests!r}
config.test_exec_root = {output!r}
config.substitutions += [("torch-mlir-opt", {tool_path!r}), ("FileCheck", {filecheck!r})]
config.torch_mlir_enable_refbackend = config.enable_stablehlo = True
"""


def filecheck() -> str:
    """LLVM's FileCheck of the highest version on the path, or the Python package's."""
    names = {p.name for d in os.get_exec_path() if Path(d).is_dir() for p in Path(d).glob("FileCheck*")}
    found = [n for n in names if re.fullmatch(r"FileCheck(-\d+)?", n) and shutil.which(n)]
    best = max(found, key=lambda n: int(n.partition("-")[2] or 999), default=None)
    return str(shutil.which(best) if best else SCRIPTS / "filecheck")


def outcomes(tool: str, tests: Path, folder: Path) -> dict[str, str]:
    """What became of each test, by its path below `tests`."""
    suite = Path(tempfile.mkdtemp(dir=folder))  # no tool's name is in the path: lit would substitute it there too
    report = suite / "report.json"
    names = {
        "tool": tool,
        "tool_path": str(SCRIPTS / tool),
        "tests": str(tests),
        "output": str(suite / "output"),
        "filecheck": filecheck(),
    }
    suite.joinpath("lit.cfg.py").write_text(CONFIG.format(**names))
    lit = subprocess.run([SCRIPTS / "lit", "-q", "-o", report, suite], capture_output=True, text=True, check=False)
    if not report.exists():
        sys.exit(f"expected a report from lit, got none:\n{lit.stderr}")
    results = json.loads(report.read_text())["tests"]
    return {r["name"].partition(" :: ")[2]: r["code"] for r in results}


def main() -> None:
    if len(sys.argv) != 2 or not Path(sys.argv[1], "Dialect").is_dir():
        sys.exit("expected the `test` folder of a torch-mlir checkout, got none: torch_mlir_tests.py DIR")
    tests = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        by_tool = {tool: outcomes(tool, tests, Path(folder)) for tool in TOOLS}
    reference, ours = (by_tool[tool] for tool in TOOLS)
    for tool, result in by_tool.items():
        print(f"{tool:16} {sum(code == 'PASS' for code in result.values()):4} of {len(result)} pass")
    for name, code in sorted(reference.items()):
        if code != ours[name]:
            print(f"  {name}: {TOOLS[0]} {code}, {TOOLS[1]} {ours[name]}")


if __name__ == "__main__":
    main()
