"""lutllm on another Python that is installed here: the compiler core in a fresh environment, its IR and core tests."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MINORS = (13, 12, 11)  # the newest first: it differs most from what CI runs on
TOOLS = ("lit", "filecheck", "pytest", "hypothesis")
# Half a minute of tests that touch both MLIRs, the numba kernels and the command line, none of which needs torch.
TESTS = ("dialect/test_contexts.py", "python/test_canaries.py", "lowering/test_circt.py", "python/test_store.py")
IR = ("dialect", "passes")


def supported() -> set[int]:
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    return {int(m[1]) for c in classifiers if (m := re.fullmatch(r"Programming Language :: Python :: 3\.(\d+)", c))}


def interpreters(minor: int) -> Iterator[str]:
    """Where a Python may be: on the path, or one of pyenv's."""
    yield from filter(None, [shutil.which(f"python3.{minor}")])
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from map(str, sorted(root.glob(f"versions/3.{minor}.*/bin/python3.{minor}")))


def works(python: str, minor: int) -> bool:
    """Whether it is that Python and can make an environment; a shim of pyenv may stand for one that is not there."""
    program = "import ensurepip, sys; print(sys.version_info[1])"
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, cwd="/")
    return done.returncode == 0 and done.stdout.strip() == str(minor)


def another() -> str | None:
    minors = (minor for minor in MINORS if minor != sys.version_info[1])
    return next((python for minor in minors for python in interpreters(minor) if works(python, minor)), None)


def run(*command: object) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([*map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def test_the_pythons_are_those_of_the_classifiers() -> None:
    assert supported() == set(MINORS)


def test_the_core_works_on_another_python(tmp_path: Path) -> None:
    python = another()
    if python is None:
        wanted = " or ".join(f"3.{minor}" for minor in MINORS if minor != sys.version_info[1])
        pytest.skip(f"no other Python is installed; install {wanted}, or pyenv with one")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["test"]
    tools = [d for d in extras if re.match(r"[\w-]+", d)[0] in TOOLS]
    run(python, "-m", "venv", tmp_path)
    own = tmp_path / "bin" / "python"
    run(own, "-m", "pip", "install", "-q", "--disable-pip-version-check", ROOT, *tools)
    site = run(own, "-c", "import lutllm, importlib.util as u; print(lutllm.__file__, u.find_spec('torch'))")
    assert site.startswith(str(tmp_path)) and site.endswith("None\n")
    run(tmp_path / "bin" / "lit", "-q", "-j2", *(ROOT / "test" / folder for folder in IR))
    for test in TESTS:  # a process each: on 3.13, one with both MLIRs and threads sometimes crashes when it ends
        run(own, "-m", "pytest", "-q", "-p", "no:cacheprovider", ROOT / "test" / test)
