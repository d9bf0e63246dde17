"""lit configuration: `*.mlir` files with RUN lines, checked by FileCheck (the `filecheck` package from PyPI).

Tools come from beside the interpreter that runs lit, so the tests test what is installed there. `REQUIRES: torch`
and `REQUIRES: mlir-opt-22` skip a test where these are missing.
"""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import lit.formats

config: "lit.TestingConfig" = config  # type: ignore[name-defined] # noqa: F821  (lit defines it)

scripts = Path(sys.executable).parent
config.name = "lutllm"
config.test_format = lit.formats.ShTest(False)
config.suffixes = [".mlir"]
config.excludes = ["Inputs"]
config.test_source_root = str(Path(__file__).parent)
config.test_exec_root = str(Path(__file__).parents[1] / "build" / "lit")
config.environment["PATH"] = f"{scripts}{os.pathsep}{os.environ['PATH']}"
config.substitutions += [("FileCheck", str(scripts / "filecheck")), ("%python", sys.executable)]

if importlib.util.find_spec("torch"):
    config.available_features.add("torch")
if shutil.which("mlir-opt-22"):
    config.available_features.add("mlir-opt-22")
