"""`lutllm doctor`: what is installed, what is missing, what each part is for and how to get it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from lutllm import __version__

CIRCT = "circt" if sys.version_info >= (3, 13) else "pycde"  # as pyproject.toml has it
# (distribution, extra that brings it or None for the core, what for)
PACKAGES = (
    ("torch-mlir", None, "MLIR bindings, torch import"),
    (CIRCT, None, "CIRCT bindings"),
    ("llvmlite", None, "arc simulator"),
    ("numba", None, "test bench, quantizer kernels"),
    ("numpy", None, "reference interpreter"),
    ("safetensors", None, "parameter store"),
    ("tqdm", None, "progress bars"),
    ("pyvcd", None, "waveforms"),
    ("torch", "models", "model import and quantization"),
    ("transformers", "models", "model loading"),
    ("gguf", "models", "GGUF files"),
    ("lit", "test", "IR tests"),
    ("filecheck", "test", "IR tests"),
    ("pytest", "test", "Python tests"),
    ("cocotb", "test", "a unit test with Icarus"),
)
# (program, Debian package, what for); all optional
PROGRAMS = (
    ("verilator", "verilator", "--simulator verilator, lint of the SystemVerilog"),
    ("g++", "g++", "--simulator verilator"),
    ("make", "make", "--simulator verilator"),
    ("yosys", "yosys", "synthesis checks in the tests"),
    ("iverilog", "iverilog", "the cocotb unit test"),
    ("mlir-opt-22", "mlir-22-tools", "a second reader of the exported IRDL, in the tests"),
)


@dataclass(frozen=True)
class Finding:
    """One package or program: its `version` (None: missing), whether the core needs it, and how to get it."""

    name: str
    version: str | None
    required: bool
    purpose: str
    how: str


@dataclass(frozen=True)
class Diagnosis:
    system: dict[str, str]
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether everything the core needs is there, at the pinned versions."""
        return all(f.version is not None for f in self.findings if f.required)

    def to_dict(self) -> dict:
        return {"system": self.system, "healthy": self.healthy, "findings": [asdict(f) for f in self.findings]}

    def __str__(self) -> str:
        lines = [f"{key:12} {value}" for key, value in self.system.items()]
        for f in self.findings:
            state = f.version or ("MISSING" if f.required else "not installed")
            lines.append(f"{f.name:12} {state:18} {f.purpose}" + ("" if f.version else f"; get it: {f.how}"))
        lines.append("ready" if self.healthy else "not ready: install what is marked MISSING")
        return "\n".join(lines)


def diagnose() -> Diagnosis:
    pins = _pins()
    findings = [_package(name, extra, purpose, pins) for name, extra, purpose in PACKAGES]
    findings += [_program(*program) for program in PROGRAMS]
    system = {
        "lutllm": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "system": platform.platform(terse=True),
    }
    return Diagnosis(system, tuple(findings))


def _pins() -> Mapping[str, str]:
    """Exact versions lutllm asks for, by distribution."""
    try:
        wanted = importlib.metadata.requires("lutllm") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    found = (re.match(r"([\w.-]+)\s*==\s*([\w.]+)", text) for text in wanted)
    return {match[1].lower(): match[2] for match in found if match}


def _package(name: str, extra: str | None, purpose: str, pins: Mapping[str, str]) -> Finding:
    try:
        version: str | None = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        version = None
    how = f"pip install 'lutllm[{extra}]'" if extra else "pip install lutllm"
    pin = pins.get(name)
    if version is not None and pin is not None and version.split("+")[0] != pin:
        version, how = None, f"pip install {name}=={pin} (lutllm needs exactly this version)"
    return Finding(name, version, extra is None, purpose, how)


def _program(name: str, package: str, purpose: str) -> Finding:
    path = shutil.which(name)
    version = _version_of(path) if path else None
    return Finding(name, version, False, purpose, f"apt-get install {package}")


def _version_of(path: str) -> str:
    flag = "-V" if path.endswith(("yosys", "iverilog")) else "--version"
    try:
        done = subprocess.run([path, flag], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "installed"
    match = re.search(r"\d+\.\d+(\.\d+)?", done.stdout)
    return match[0] if match else "installed"
