"""Run every check of the repository: `python test/run.py [lint] [types] [lit] [pytest]`, all four without arguments.

Prints the result of each part, what was skipped and why, and as its very last line `N passed, N failed` over lit and
pytest, which is also in build/summary.txt. Exits with 1 where a part fails, or where lit or pytest runs no test.
"""

import json
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
SCRIPTS = Path(sys.executable).parent  # not resolved: in a virtual environment the tools lie beside the link
JOBS = os.cpu_count() or 1


@dataclass
class Result:
    """How a part went. `skipped` counts tests by the reason they give."""

    part: str
    ok: bool
    passed: int = 0
    failed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    remark: str = ""

    def __str__(self) -> str:
        tests = f"{self.passed} passed, {self.failed} failed, {sum(self.skipped.values())} skipped"
        return f"{self.part:8} {'ok' if self.ok else 'FAILED':8} {self.remark or tests}"


def run(command: Sequence[str | Path], **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command in the repository, its output shown as it comes."""
    path = f"{SCRIPTS}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    sys.stdout.flush()
    return subprocess.run(
        list(map(str, command)), cwd=ROOT, stdin=subprocess.DEVNULL, env={**os.environ, "PATH": path, **environment}
    )


def lint() -> Result:
    """Style and formatting."""
    codes = [run([SCRIPTS / "ruff", *what, "."]).returncode for what in (("check",), ("format", "--check"))]
    return Result("lint", not any(codes), remark="ruff check, ruff format --check")


def types() -> Result:
    """Types of the whole package, and proof that mypy saw all of it."""
    tree = package_tree()
    files = {p.resolve() for p in tree.rglob("*.py")} | {
        p.resolve() for link in tree.joinpath("lutllm").iterdir() if link.is_dir() for p in link.rglob("*.py")
    }
    report, mypy = BUILD / "mypy-report", [SCRIPTS / "mypy", "--config-file", "pyproject.toml"]
    code = run([*mypy, "--linecount-report", report, "-p", "lutllm"], MYPYPATH=str(tree)).returncode
    code |= run([*mypy, "--warn-unused-ignores", "test/python/Inputs/typed_api.py"], MYPYPATH=str(tree)).returncode
    counts = report / "linecount.txt"
    seen = set(re.findall(r"\blutllm(?:\.\w+)*$", counts.read_text(), re.MULTILINE)) if counts.exists() else set()
    remark = f"mypy, {len(seen)} of {len(files)} files"
    return Result("types", code == 0 and len(seen) == len(files), remark=remark)


def package_tree() -> Path:
    """`lutllm` as links in one folder: mypy does not see the map an editable install keeps."""
    tree = BUILD / "typecheck"
    package = tree / "lutllm"
    package.mkdir(parents=True, exist_ok=True)
    for old in package.iterdir():
        if old.is_symlink():
            old.unlink()
    sources = [*(ROOT / "python" / "lutllm").iterdir(), *(ROOT / n for n in ("dialect", "passes", "lowering", "tools"))]
    for source in sources:
        if source.name != "__pycache__":
            package.joinpath(source.name).symlink_to(source)
    return tree


def lit() -> Result:
    """The `.mlir` tests."""
    report = BUILD / "lit.json"
    report.unlink(missing_ok=True)
    code = run([SCRIPTS / "lit", "-q", f"-j{JOBS}", "-o", report, ROOT / "test"]).returncode
    tests = json.loads(report.read_text())["tests"] if report.exists() else []
    result = Result("lit", False)
    for test in tests:
        if test["code"] in ("PASS", "XFAIL"):
            result.passed += 1
        elif test["code"] in ("UNSUPPORTED", "SKIPPED", "EXCLUDED"):
            result.skipped[test["output"].strip() or test["code"]] += 1
        else:
            result.failed += 1
    result.ok = code == 0 and result.failed == 0 and result.passed > 0
    return result


def pytest() -> Result:
    """The `test_*.py` tests; a file's stay together, so that what they share is made once."""
    report = BUILD / "pytest.xml"
    report.unlink(missing_ok=True)
    spread = ["-n", str(JOBS), "--dist", "loadfile"]
    code = run([sys.executable, "-m", "pytest", "-q", *spread, f"--junitxml={report}", "test"]).returncode
    result = Result("pytest", False)
    for case in ET.parse(report).iter("testcase") if report.exists() else ():
        skipped = case.find("skipped")
        if skipped is not None:
            result.skipped[skipped.get("message") or "no reason given"] += 1
        elif case.find("failure") is not None or case.find("error") is not None:
            result.failed += 1
        else:
            result.passed += 1
    result.ok = code == 0 and result.failed == 0 and result.passed > 0
    return result


PARTS = {"lint": lint, "types": types, "lit": lit, "pytest": pytest}


def main(names: Sequence[str]) -> int:
    unknown = [n for n in names if n not in PARTS]
    if unknown:
        print(f"error: expected parts among {', '.join(PARTS)}, got {', '.join(unknown)}", file=sys.stderr)
        return 2
    BUILD.mkdir(exist_ok=True)
    results = []
    for name in names or PARTS:
        print(f"\n== {name}: {PARTS[name].__doc__}", flush=True)
        start = time.monotonic()
        results.append(PARTS[name]())
        print(f"{results[-1]}  ({time.monotonic() - start:.0f} s)", flush=True)
    return report(results)


def report(results: Sequence[Result]) -> int:
    print("\n== summary")
    for result in results:
        print(result)
        for reason, count in result.skipped.items():
            print(f"  skipped {count}: {reason}")
    last = f"{sum(r.passed for r in results)} passed, {sum(r.failed for r in results)} failed"
    BUILD.joinpath("summary.txt").write_text(f"{last}\n")
    print(last, flush=True)
    return 0 if all(r.ok for r in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
